// A server that speaks MongoDB's protocol, for tests: FerretDB, with its data in SQLite files.
package main

import (
	"context"
	"flag"
	"log"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:27017", "address and port, without TLS")
	tls := flag.String("tls-listen", "", "address and port with TLS")
	cert := flag.String("cert", "", "file with the server's certificate")
	key := flag.String("key", "", "file with the key of the certificate")
	ca := flag.String("ca", "", "file with the authority of the clients' certificates, which clients need then")
	dir := flag.String("dir", "", "directory of the data, which exists")
	flag.Parse()
	if *dir == "" || flag.NArg() > 0 {
		log.Fatal("usage: mongodb -listen ADDRESS -dir DIR")
	}
	path, err := filepath.Abs(*dir)
	if err != nil {
		log.Fatal(err)
	}
	server, err := ferretdb.New(&ferretdb.Config{
		Listener: ferretdb.ListenerConfig{
			TCP:         *listen,
			TLS:         *tls,
			TLSCertFile: *cert,
			TLSKeyFile:  *key,
			TLSCAFile:   *ca,
		},
		Handler:   "sqlite",
		SQLiteURL: "file:" + path + "/",
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := server.Run(ctx); err != nil {
		log.Fatal(err)
	}
}
