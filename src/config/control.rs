//! `control: {socket, group}`, and how another command finds the socket of a running program.

use std::path::{Path, PathBuf};

use super::document::{Document, Reading};
use super::field::Field;
use super::locate;
use super::model::{Control, ControlSocket};
use super::options::LoadOptions;
use super::problem::Problem;
use super::{decode, state};

/// Where the socket of a program with a configuration is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlPlace {
    /// The socket; none where the configuration wants none.
    pub socket: Option<PathBuf>,
    /// The state folder.
    pub state_dir: PathBuf,
}

/// Reads the section.
pub(super) fn read(field: Field<'_>) -> Option<Control> {
    let mut section = field.section()?;
    let socket = section.or("socket", ControlSocket::default(), socket);
    let group = section.optional("group", Field::text);
    Some(Control { socket: socket?, group: group? })
}

/// `none`, or a path.
fn socket(field: Field<'_>) -> Option<ControlSocket> {
    if field.text()? == "none" { Some(ControlSocket::None) } else { field.path().map(ControlSocket::At) }
}

/// Where the program that was started with these options listens. What is wrong elsewhere in the configuration does not
/// matter: the program may well run on what stood there before.
pub fn find_control(options: &LoadOptions) -> Result<ControlPlace, Vec<Problem>> {
    find_in(options, Path::new("/etc/liveconf"))
}

fn find_in(options: &LoadOptions, system: &Path) -> Result<ControlPlace, Vec<Problem>> {
    let found = read_place(options, system);
    // Where the folder is named, the file is only needed for a socket that is elsewhere.
    match state::given(options) {
        Some(state_dir) if found.is_err() => {
            Ok(ControlPlace { socket: ControlSocket::InStateFolder.path(&state_dir), state_dir })
        }
        _ => found,
    }
}

fn read_place(options: &LoadOptions, system: &Path) -> Result<ControlPlace, Vec<Problem>> {
    let (source, _) = locate::main_file(options, system).map_err(|problem| vec![problem])?;
    let base = source.path.parent().unwrap_or(Path::new("/"));
    let text = source.read().map_err(|problem| vec![problem])?;
    let document = Document::parse(&source.shown, base, text).map_err(|problem| vec![problem])?;
    let reading = Reading::new(&options.environment, &[]);
    let place = || {
        let mut section = Field::root(&reading, &document).section()?;
        let identity = source.identity();
        let state_dir = decode::state_dir(&mut section, identity.as_os_str().as_encoded_bytes(), options)?;
        let control = section.or("control", Control::default(), read)?;
        Some(ControlPlace { socket: control.socket.path(&state_dir), state_dir })
    };
    let place = place();
    place.ok_or_else(|| reading.finish(std::slice::from_ref(&source.shown)).0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn find(folder: &Path, state_dir: Option<&str>) -> Result<ControlPlace, String> {
        let options = LoadOptions {
            config: Some("liveconf.yaml".into()),
            state_dir: state_dir.map(PathBuf::from),
            environment: BTreeMap::from([("HOME".to_owned(), "/home/me".to_owned())]),
            working_folder: folder.to_owned(),
            uid: 1000,
            command: Some(Vec::new()),
        };
        find_in(&options, Path::new("/nowhere")).map_err(|problems| problems[0].to_string())
    }

    fn place(socket: &str, state_dir: &str) -> ControlPlace {
        ControlPlace { socket: Some(socket.into()), state_dir: state_dir.into() }
    }

    #[test]
    fn the_socket_is_found_whatever_else_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let write = |text: &str| std::fs::write(folder.path().join("liveconf.yaml"), text).unwrap();
        assert!(find(folder.path(), None).unwrap_err().contains("cannot be read"));
        assert_eq!(find(folder.path(), Some("/s")), Ok(place("/s/control.sock", "/s")));
        write("name: edge\ntargets: [wrong]\nwhat: is this");
        let home = "/home/me/.local/state/liveconf/edge";
        assert_eq!(find(folder.path(), None), Ok(place(&format!("{home}/control.sock"), home)));
        write("state_dir: /var/x\ncontrol: {socket: /run/x.sock, group: adm}");
        assert_eq!(find(folder.path(), None), Ok(place("/run/x.sock", "/var/x")));
        assert_eq!(find(folder.path(), Some("/s")), Ok(place("/run/x.sock", "/s")));
        write("state_dir: /var/x\ncontrol: {socket: none}");
        assert_eq!(find(folder.path(), None).unwrap().socket, None);
        write("state_dir: ${NOT_SET}");
        assert!(find(folder.path(), None).unwrap_err().contains("`NOT_SET` is not set"));
        write("state_dir: [");
        assert!(find(folder.path(), None).is_err());
        assert_eq!(find(folder.path(), Some("/s")), Ok(place("/s/control.sock", "/s")));
    }
}
