//! Parses the variables in docker-compose.yml line by line, which is enough for the way in which its
//! anchors, merges and environments are written.

use std::collections::{BTreeMap, BTreeSet};

/// The variables of the file.
#[derive(Debug, Default)]
pub struct Compose {
    text: String,
    /// The keys of each anchor and of each service's environment, and the anchors that it merges.
    blocks: BTreeMap<String, Block>,
}

#[derive(Debug, Default)]
struct Block {
    keys: BTreeSet<String>,
    handed_on: BTreeSet<String>,
    merged: Vec<String>,
}

impl Compose {
    /// Parses the file.
    pub fn parse(text: &str) -> Self {
        let mut compose = Self {
            text: text.to_owned(),
            blocks: BTreeMap::new(),
        };
        let (mut service, mut block, mut depth) = (String::new(), String::new(), 0);
        for line in text.lines() {
            let content = line.trim_start();
            let indent = line.len() - content.len();
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            if indent <= depth {
                block.clear();
            }
            if let Some((_, anchor)) = content.split_once(": &").filter(|_| indent == 0) {
                (block, depth) = (anchor.to_owned(), indent);
            } else if block.is_empty() && indent == 2 && content.ends_with(':') {
                content.trim_end_matches(':').clone_into(&mut service);
            } else if content == "environment:" {
                (block, depth) = (format!("service {service}"), indent);
            } else if !block.is_empty() && indent == depth + 2 {
                let block = compose.blocks.entry(block.clone()).or_default();
                let (key, value) = content.split_once(':').unwrap();
                if key == "<<" {
                    let anchors = value
                        .split(['[', ']', ',', ' ', '*'])
                        .filter(|name| !name.is_empty());
                    block.merged.extend(anchors.map(str::to_owned));
                } else {
                    block.keys.insert(key.to_owned());
                    if value.trim().is_empty() {
                        block.handed_on.insert(key.to_owned());
                    }
                }
            }
        }
        compose
    }

    /// The environment variables of a service's container.
    pub fn environment(&self, service: &str) -> BTreeSet<String> {
        let Some(block) = self.blocks.get(&format!("service {service}")) else {
            return BTreeSet::new();
        };
        let merged = block
            .merged
            .iter()
            .flat_map(|anchor| self.blocks[anchor].keys.clone());
        merged.chain(block.keys.clone()).collect()
    }

    /// The variables that users may set.
    pub fn variables(&self) -> BTreeSet<String> {
        let mut names: BTreeSet<String> = BTreeSet::new();
        for (name, block) in &self.blocks {
            if name.starts_with("service ") {
                names.extend(block.handed_on.clone());
                names.extend(
                    block
                        .merged
                        .iter()
                        .flat_map(|anchor| self.blocks[anchor].handed_on.clone()),
                );
            }
        }
        let is_name = |c: char| c.is_ascii_uppercase() || c == '_';
        for part in self.text.split("${").skip(1) {
            names.insert(part.chars().take_while(|c| is_name(*c)).collect());
        }
        // A variable of compose itself.
        names.remove("COMPOSE_PROJECT_NAME");
        names
    }

    /// The default of a variable in the file.
    pub fn default_of(&self, name: &str) -> Option<String> {
        let (_, rest) = self
            .text
            .split_once(&format!("${{{name}:-"))
            .or_else(|| self.text.split_once(&format!("${{{name}-")))?;
        let (default, _) = rest.split_once('}')?;
        // The default may be another variable with a default.
        let innermost = default
            .rsplit_once(":-")
            .map_or(default, |(_, inner)| inner);
        Some(innermost.to_owned())
    }
}
