//! The Python package and the example GPT, as they were when this program was built: a demonstration needs
//! nothing but Python and PyTorch.

use anyhow::Context;
use std::path::{Path, PathBuf};

macro_rules! files {
    ($($name:literal,)*) => {
        [$(($name, include_str!(concat!("../../../../python/src/unicron/", $name))),)*]
    };
}

/// The package's files.
const PACKAGE: &[(&str, &str)] = &files![
    "__init__.py",
    "agent.py",
    "attach.py",
    "elastic/__init__.py",
    "elastic/alone.py",
    "elastic/collectives.py",
    "elastic/decide.py",
    "elastic/disk.py",
    "elastic/exchange.py",
    "elastic/gradients.py",
    "elastic/joining.py",
    "elastic/losses.py",
    "elastic/member.py",
    "elastic/round.py",
    "elastic/settings.py",
    "elastic/sockets.py",
    "elastic/state.py",
    "elastic/trainer.py",
    "elastic/unpickling.py",
    "elastic/weights.py",
    "faults.py",
    "interrupt.py",
    "memory.py",
    "parcel.py",
    "protocol.py",
    "store.py",
    "wire.py",
];

const EXAMPLE: &str = include_str!("../../../../examples/gpt.py");

/// Writes both into a folder, which is then where Python finds the package; the example's path.
pub fn write(folder: &Path) -> anyhow::Result<PathBuf> {
    let write = |path: &Path, text: &str| {
        let inner = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(inner).with_context(|| inner.display().to_string())?;
        std::fs::write(path, text).with_context(|| path.display().to_string())
    };
    for (name, text) in PACKAGE {
        write(&folder.join("unicron").join(name), text)?;
    }
    let example = folder.join("gpt.py");
    write(&example, EXAMPLE)?;
    Ok(example)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path, root: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                names(&path, root, found);
            } else if path.extension().is_some_and(|extension| extension == "py") {
                found.push(path.strip_prefix(root).unwrap().display().to_string());
            }
        }
    }

    #[test]
    fn no_file_of_the_package_is_missing() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/src/unicron");
        let mut found = Vec::new();
        names(&root, &root, &mut found);
        found.sort();
        let listed: Vec<&str> = PACKAGE.iter().map(|(name, _)| *name).collect();
        assert_eq!(listed, found);
    }
}
