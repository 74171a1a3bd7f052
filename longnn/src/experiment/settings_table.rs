//! A model's table in a settings file, replaced where the file stands, everything else as it was.

use crate::model::{Architecture, Settings, SettingsFile};
use crate::{Error, Result};
use common::files;
use std::fs;
use std::io::Write;
use std::path::Path;
use toml_edit::{DocumentMut, Item, Table};

/// Writes a model's settings into a file, which is made if it isn't there, below a line that says
/// where they are from. What is the default is left out. The file is replaced at once.
///
/// # Errors
/// If the file can't be read or written, or isn't a settings file.
pub fn update(path: &Path, model: Architecture, settings: &Settings, comment: &str) -> Result<()> {
    let text = match path.exists() {
        true => {
            SettingsFile::read(path)?;
            fs::read_to_string(path).map_err(Error::io(path))?
        }
        false => String::new(),
    };
    let mut document: DocumentMut = text.parse().map_err(|error| fault(path, error))?;
    let mut table = difference(settings).map_err(|error| fault(path, error))?;
    let old = document.get(model.settings_name()).and_then(Item::as_table);
    if let Some(position) = old.and_then(Table::position) {
        table.set_position(Some(position));
    }
    let is_first = document.iter().next().is_none_or(|(name, _)| name == model.settings_name());
    let heading = match old.filter(|_| is_first).and_then(|old| old.decor().prefix()) {
        // The file's own heading stands above its first table.
        Some(prefix) => heading_of(prefix.as_str().unwrap_or_default()),
        None if is_first => String::new(),
        None => "\n".to_owned(),
    };
    table.decor_mut().set_prefix(format!("{heading}# {}\n", comment.replace('\n', " ")));
    document.insert(model.settings_name(), Item::Table(table));
    write(path, model, settings, &document.to_string())
}

/// The part of a comment that ends with an empty line.
fn heading_of(prefix: &str) -> String {
    prefix.rfind("\n\n").map_or("", |end| &prefix[..end + 2]).to_owned()
}

/// What differs from the defaults, groups of parameters on a line each.
fn difference(settings: &Settings) -> Result<Table, Box<dyn std::error::Error>> {
    let (defaults, mut own) =
        (toml::Table::try_from(Settings::default())?, toml::Table::try_from(settings)?);
    own.retain(|name, value| defaults.get(name) != Some(value));
    let document: DocumentMut = toml::to_string(&own)?.parse()?;
    let (mut table, mut groups) = (Table::new(), Vec::new());
    for (name, mut item) in document.into_table() {
        let is_group = item.is_table();
        item.make_value();
        match is_group {
            true => groups.push((name, item)),
            false => drop(table.insert(&name, item)),
        }
    }
    for (name, mut group) in groups {
        if let Some(group) = group.as_inline_table_mut() {
            group.fmt();
        }
        table.insert(&name, group);
    }
    Ok(table)
}

/// Writes the text if it says what it should.
fn write(path: &Path, model: Architecture, settings: &Settings, text: &str) -> Result<()> {
    if SettingsFile::parse(text, path)?.of(model) != *settings {
        return Err(fault(path, format!("[{model}] would not be read back as it is")));
    }
    files::replace(path, |file| file.write_all(text.as_bytes())).map_err(Error::io(path))
}

fn fault(path: &Path, problem: impl ToString) -> Error {
    Error::File { path: path.to_owned(), part: "settings".into(), problem: problem.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::GroupSettings;

    fn settings() -> Settings {
        let encoder = GroupSettings { learning_rate: 0.05, weight_decay: 5e-5 };
        Settings { alpha: 0.1, degree: 2, encoder, ..Settings::default() }
    }

    #[test]
    fn a_new_file_has_what_differs_from_the_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own.toml");
        update(&path, Architecture::Gcn, &settings(), "Found so.").unwrap();
        update(&path, Architecture::Mlp, &Settings::default(), "Found\nso, too.").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let expected = "\
            # Found so.\n[gcn]\nalpha = 0.1\ndegree = 2\n\
            encoder = { learning_rate = 0.05, weight_decay = 5e-5 }\n\
            \n# Found so, too.\n[mlp]\n";
        assert_eq!(text.replace("0.00005", "5e-5"), expected);
        assert_eq!(SettingsFile::read(&path).unwrap().of(Architecture::Gcn), settings());
    }

    #[test]
    fn everything_else_in_the_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("texas.toml");
        let text =
            "# Heading.\n\n# Tuned.\n[lon]\nalpha = 0.5 # half\n\n# Old.\n[gcn]\nhidden = 8\n";
        fs::write(&path, text).unwrap();
        update(&path, Architecture::Gcn, &settings(), "New.").unwrap();
        let (before, _) = text.split_once("# Old.").unwrap();
        let updated = fs::read_to_string(&path).unwrap();
        assert!(updated.starts_with(&format!("{before}# New.\n[gcn]\nalpha = 0.1\n")), "{updated}");
        assert!(!updated.contains("Old") && !updated.contains("hidden"), "{updated}");

        update(&path, Architecture::Lon, &settings(), "Searched.").unwrap();
        let updated = fs::read_to_string(&path).unwrap();
        assert!(
            updated.starts_with("# Heading.\n\n# Searched.\n[lon]\nalpha = 0.1\n"),
            "{updated}"
        );
        assert_eq!(SettingsFile::read(&path).unwrap().of(Architecture::Gcn), settings());
    }

    #[test]
    fn a_file_that_is_no_settings_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.toml");
        for text in ["[gcn", "[long]\n", "[gcn]\nhiden = 3\n"] {
            fs::write(&path, text).unwrap();
            assert!(update(&path, Architecture::Mlp, &settings(), "").unwrap_err().is_bad_input());
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
