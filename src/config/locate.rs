//! Which files make up the configuration, and their text.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::options::LoadOptions;
use super::problem::Problem;

/// The name of the main file.
const NAME: &str = "liveconf.yaml";

/// The folder beside it whose files add to it.
const ADDITIONS: &str = "conf.d";

/// More than any configuration that people write.
const LARGEST: u64 = 1 << 20;

/// A file of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    /// Its path, absolute.
    pub(super) path: PathBuf,
    /// What it is called in problems: the path as it was given.
    pub(super) shown: String,
    /// It was found in the working folder by root: only root may have written it, since it says what runs.
    pub(super) guarded: bool,
}

/// The main file: `--config`, else `LIVECONF_CONFIG`, else the one in the working folder, else the one in `system`.
/// With it comes a warning when a file was passed over.
pub(super) fn main_file(options: &LoadOptions, system: &Path) -> Result<(Source, Option<Problem>), Problem> {
    let given = options.config.clone().or_else(|| options.variable("LIVECONF_CONFIG").map(PathBuf::from));
    if let Some(path) = given {
        let shown = path.display().to_string();
        return Ok((Source { path: options.working_folder.join(path), shown, guarded: false }, None));
    }
    let local = options.working_folder.join(NAME);
    let mut passed_over = None;
    if is_there(&local) {
        let guarded = options.uid == 0;
        if !guarded || is_roots(&local) {
            return Ok((Source { path: local, shown: NAME.into(), guarded }, None));
        }
        let hint =
            format!("name it with `--config {NAME}`, or let root own it: `chown root {NAME}; chmod go-w {NAME}`");
        let message = "not used, since others than root may have written it and it says what root runs";
        passed_over = Some(Problem::of_file(NAME, message, Some(hint)));
    }
    let system = system.join(NAME);
    if is_there(&system) {
        let shown = system.display().to_string();
        return Ok((Source { path: system, shown, guarded: false }, passed_over));
    }
    Err(passed_over.unwrap_or_else(|| {
        let message = format!("there is no configuration: neither `{NAME}` here nor `{}`", system.display());
        let hint = "name one with `--config`, or give the job itself: `--registry file:registry.yaml --template in.tera:out.conf`";
        Problem::of_file("command line", message, Some(hint.into()))
    }))
}

/// The files of `conf.d` beside the main file, sorted by name, and what is wrong with the folder.
pub(super) fn additions(main: &Source) -> (Vec<Source>, Vec<Problem>) {
    let folder = main.path.with_file_name(ADDITIONS);
    let shown = Path::new(&main.shown).with_file_name(ADDITIONS);
    let problem = |message: String| vec![Problem::of_file(shown.display().to_string(), message, None)];
    let names = fs::read_dir(&folder).and_then(|entries| {
        entries.map(|entry| Ok(PathBuf::from(entry?.file_name()))).collect::<io::Result<Vec<PathBuf>>>()
    });
    let mut names = match names {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return (Vec::new(), Vec::new()),
        Err(error) => return (Vec::new(), problem(format!("cannot be read: {error}"))),
    };
    if main.guarded && !is_roots(&folder) {
        return (Vec::new(), problem("others than root may have written to it, and it says what root runs".into()));
    }
    // Hidden files are what editors and ConfigMaps leave.
    names.retain(|name| {
        name.extension().is_some_and(|extension| extension == "yaml") && !name.to_string_lossy().starts_with('.')
    });
    names.sort();
    let source = |name: &PathBuf| Source {
        path: folder.join(name),
        shown: shown.join(name).display().to_string(),
        guarded: main.guarded,
    };
    (names.iter().map(source).collect(), Vec::new())
}

impl Source {
    /// The text of the file.
    pub(super) fn read(&self) -> Result<String, Problem> {
        let problem = |message: String| Problem::of_file(&self.shown, message, None);
        let unreadable = |error: io::Error| problem(format!("cannot be read: {error}"));
        let file = File::open(&self.path).map_err(unreadable)?;
        // Asked of the open file, so that it cannot be another one by now.
        if self.guarded && !file.metadata().is_ok_and(|metadata| only_root_writes(&metadata)) {
            return Err(problem("others than root may have written it, and it says what root runs".into()));
        }
        let mut bytes = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > LARGEST {
            return Err(problem(format!("larger than {} MiB", LARGEST >> 20)));
        }
        String::from_utf8(bytes).map_err(|error| {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = before.split(|byte| *byte == b'\n').count();
            problem(format!("line {line} is not UTF-8"))
        })
    }

    /// What tells this configuration from others. The folder's real path, but the file's own name: in a `ConfigMap`
    /// the file is a link to another file after each update.
    pub(super) fn identity(&self) -> PathBuf {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let folder = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        folder.join(self.path.file_name().unwrap_or_default())
    }
}

fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Whether a file belongs to root and nobody else can write it; a link has to belong to root as well.
fn is_roots(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|link| link.uid() == 0)
        && fs::metadata(path).is_ok_and(|metadata| only_root_writes(&metadata))
}

fn only_root_writes(metadata: &Metadata) -> bool {
    metadata.uid() == 0 && metadata.mode() & 0o022 == 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn options(folder: &Path, config: Option<&str>, variable: Option<&str>, uid: u32) -> LoadOptions {
        LoadOptions {
            config: config.map(PathBuf::from),
            state_dir: None,
            environment: variable.map(|value| ("LIVECONF_CONFIG".to_owned(), value.to_owned())).into_iter().collect(),
            working_folder: folder.to_owned(),
            uid,
            command: Some(Vec::new()),
        }
    }

    #[test]
    fn the_main_file_is_looked_for_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let (here, system) = (folder.path().join("here"), folder.path().join("etc"));
        fs::create_dir(&here).unwrap();
        fs::create_dir(&system).unwrap();
        let find = |config, variable| {
            main_file(&options(&here, config, variable, 1000), &system).map(|(source, _)| (source.shown, source.path))
        };
        let problem = find(None, None).unwrap_err();
        assert!(problem.message.starts_with("there is no configuration"), "{problem}");
        fs::write(system.join(NAME), "").unwrap();
        let shown = system.join(NAME).display().to_string();
        assert_eq!(find(None, None).unwrap(), (shown, system.join(NAME)));
        fs::write(here.join(NAME), "").unwrap();
        assert_eq!(find(None, None).unwrap(), (NAME.into(), here.join(NAME)));
        assert_eq!(find(None, Some("b.yaml")).unwrap(), ("b.yaml".into(), here.join("b.yaml")));
        assert_eq!(find(Some("/a.yaml"), Some("b.yaml")).unwrap(), ("/a.yaml".into(), "/a.yaml".into()));
    }

    #[test]
    fn root_takes_only_a_file_that_root_alone_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let system = folder.path().join("etc");
        fs::create_dir(&system).unwrap();
        let local = folder.path().join(NAME);
        fs::write(&local, "").unwrap();
        fs::set_permissions(&local, fs::Permissions::from_mode(0o666)).unwrap();
        let root = options(folder.path(), None, None, 0);
        let problem = main_file(&root, &system).unwrap_err();
        assert!(problem.message.starts_with("not used"), "{problem}");
        fs::write(system.join(NAME), "").unwrap();
        let (source, warning) = main_file(&root, &system).unwrap();
        assert_eq!(source.path, system.join(NAME));
        assert!(warning.is_some());
        // Another user is not asked about it.
        let (source, warning) = main_file(&options(folder.path(), None, None, 1000), &system).unwrap();
        assert_eq!((source.path, warning), (local.clone(), None));
        let guarded = Source { path: local, shown: NAME.into(), guarded: true };
        assert!(guarded.read().unwrap_err().message.starts_with("others than root"));
    }

    #[test]
    fn unreadable_files_are_problems() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str| Source { path: folder.path().join(name), shown: name.into(), guarded: false }.read();
        fs::write(folder.path().join("latin1"), b"a: 1\nb: \xe9\n").unwrap();
        fs::write(folder.path().join("large"), vec![b'#'; (1 << 20) + 1]).unwrap();
        assert_eq!(read("latin1").unwrap_err().message, "line 2 is not UTF-8");
        assert_eq!(read("large").unwrap_err().message, "larger than 1 MiB");
        assert!(read("none").unwrap_err().message.starts_with("cannot be read: No such file"));
        assert!(read(".").unwrap_err().message.starts_with("cannot be read: Is a directory"));
    }
}
