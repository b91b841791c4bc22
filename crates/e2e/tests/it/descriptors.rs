//! The set of descriptors that is committed beside the built-in pipelines is what its `.proto` file compiles to. With
//! `RIGLINE_WRITE` set, it is written instead of compared.

use std::path::Path;

#[test]
fn committed_descriptors_are_what_the_proto_file_says() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines");
    let path = dir.join("compacted_reading.binpb");
    let mut compiler = protox::Compiler::new([&dir]).unwrap();
    compiler.include_imports(true).include_source_info(false);
    compiler
        .open_file(dir.join("compacted_reading.proto"))
        .unwrap();
    let wanted = compiler.encode_file_descriptor_set();
    if std::env::var_os("RIGLINE_WRITE").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let committed = std::fs::read(&path).unwrap_or_default();
    assert!(
        committed == wanted,
        "pipelines/compacted_reading.binpb isn't what the .proto file says: `make settings` writes it"
    );
}
