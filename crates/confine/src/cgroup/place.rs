//! Choosing where groups are made.

use super::mounts::{Mounted, Mounts};
use super::{Controller, Place, stale, v2};
use std::fs;
use std::io;
use std::path::Path;

/// The parent group in the version 2 hierarchy: below one's own group where that has been delegated, which keeps
/// the bounds around the engine in force, otherwise at the top for an engine that runs as root.
pub(super) fn version_2(mounts: &Mounts, name: &str) -> Result<Place, String> {
    let Some(mounted) = &mounts.version_2 else { return Err("not mounted".to_owned()) };
    let below_own = make_version_2(&mounted.own, name);
    if mounted.own == mounted.top {
        return below_own.map_err(|e| e.to_string());
    }
    below_own.or_else(|own| {
        make_version_2(&mounted.top, name).map_err(|top| format!("own group: {own}, top: {top}"))
    })
}

fn make_version_2(above: &Path, name: &str) -> io::Result<Place> {
    stale::sweep(above);
    let directory = above.join(name);
    let made = make_directory(&directory)?;
    let enabled = v2::enable(above).or_else(|e| match e.kind() {
        io::ErrorKind::ResourceBusy if v2::enter_leaf(above, &directory)? => v2::enable(above),
        _ => Err(e),
    });
    let result = enabled.and_then(|_| v2::enable(&directory));
    if result.is_err() && made {
        v2::leave_leaf(&directory);
        let _ = fs::remove_dir(&directory);
    }
    Ok(Place { directory, controllers: result? })
}

/// One parent group per controller of version 1, which knows no delegation: at the top, where engines of other
/// sessions find what a dead one left, or below one's own group where only that is writable.
pub(super) fn version_1(mounts: &Mounts, name: &str) -> Result<Vec<Place>, String> {
    let mut places: Vec<Place> = Vec::new();
    for controller in Controller::ALL {
        let Some((_, mounted)) = mounts.version_1.iter().find(|(known, _)| *known == controller) else {
            if controller == Controller::Memory {
                return Err("no memory controller".to_owned());
            }
            continue;
        };
        match make_version_1(mounted, name) {
            Ok(directory) => match places.iter_mut().find(|place| place.directory == directory) {
                // Mounted together with another controller.
                Some(place) => place.controllers.push(controller),
                None => places.push(Place { directory, controllers: vec![controller] }),
            },
            Err(e) if controller == Controller::Memory => {
                return Err(format!("{}: {e}", mounted.top.display()));
            }
            // Memory is what must be bounded; the others are welcome.
            Err(_) => {}
        }
    }
    Ok(places)
}

fn make_version_1(mounted: &Mounted, name: &str) -> io::Result<std::path::PathBuf> {
    let make = |above: &Path| {
        stale::sweep(above);
        let directory = above.join(name);
        make_directory(&directory).map(|_| directory)
    };
    make(&mounted.top).or_else(|e| if mounted.own == mounted.top { Err(e) } else { make(&mounted.own) })
}

/// The version and the controllers that [`version_2`] or [`version_1`] would find, by looking only.
pub(super) fn look(mounts: &Mounts) -> Result<(u8, Vec<Controller>), String> {
    let mut why = "no control groups are mounted".to_owned();
    if let Some(Mounted { own, top }) = &mounts.version_2 {
        match may_write(own)
            .and_then(|()| v2::look(own))
            .or_else(|_| may_write(top).and_then(|()| v2::look(top)))
        {
            Ok(controllers) => return Ok((2, controllers)),
            Err(e) => why = format!("version 2: {e}"),
        }
    }
    let writable = |mounted: &Mounted| may_write(&mounted.top).or_else(|_| may_write(&mounted.own));
    let mut found = Vec::new();
    for controller in Controller::ALL {
        let Some((_, mounted)) = mounts.version_1.iter().find(|(known, _)| *known == controller) else {
            continue;
        };
        match writable(mounted) {
            Ok(()) => found.push(controller),
            Err(e) => why = format!("version 1: {}: {e}", mounted.top.display()),
        }
    }
    if found.contains(&Controller::Memory) { Ok((1, found)) } else { Err(why) }
}

fn may_write(directory: &Path) -> io::Result<()> {
    Ok(rustix::fs::access(directory, rustix::fs::Access::WRITE_OK)?)
}

/// Makes a directory; false when it is there already.
fn make_directory(path: &Path) -> io::Result<bool> {
    match fs::create_dir(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(e),
    }
}
