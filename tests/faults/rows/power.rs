//! Power cuts: what the disk has not been told to keep is gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use rand::Rng;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::alone::{Namespace, is_alone, needs_root, run};
use crate::pace;
use crate::scene::{FILE, Scene};
use crate::support::process::search_path;
use crate::support::{SOON, poll_until};

/// A file system in a file, with the destinations and the state of a scene on it.
struct Disk {
    image: PathBuf,
    options: &'static str,
    mount: PathBuf,
    /// Folders of the scene that lie on the disk.
    folders: [PathBuf; 2],
}

impl Disk {
    fn new(scene: &Scene, make: &[&str], megabytes: u64, options: &'static str) -> Self {
        let folder = scene.job.folder();
        let image = folder.path("image");
        fs::File::create(&image).unwrap().set_len(megabytes << 20).unwrap();
        run(make[0], &[&make[1..], &[image.to_str().unwrap()]].concat());
        let disk = Self {
            image,
            options,
            mount: folder.path("disk"),
            folders: ["out", "state"].map(|name| folder.path(name)),
        };
        fs::create_dir_all(&disk.mount).unwrap();
        disk.folders.iter().for_each(|folder| fs::create_dir_all(folder).unwrap());
        disk.mount(true);
        disk
    }

    fn mount(&self, is_first: bool) {
        let mount = self.mount.to_str().unwrap();
        run("mount", &["-o", &format!("loop,{}", self.options), self.image.to_str().unwrap(), mount]);
        for folder in &self.folders {
            let source = self.mount.join(folder.file_name().unwrap());
            if is_first {
                fs::create_dir(&source).unwrap();
                run("sync", &["-f", mount]);
            }
            run("mount", &["--bind", source.to_str().unwrap(), folder.to_str().unwrap()]);
        }
    }

    /// Stops the file system as a power cut does: nothing more is written, not even the journal. The same call for ext4
    /// and xfs: `_IOR('X', 125, __u32)`, 2 for not even the journal.
    fn cut_the_power(&self) {
        let script = "open F, '<', $ARGV[0] or die $!; my $how = pack 'L', 2; ioctl F, 0x8004587d, $how or die $!";
        run("perl", &["-e", script, self.mount.to_str().unwrap()]);
        let refused = fs::write(self.mount.join("probe"), "x").unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()), "the power is still there");
    }

    /// Mounts what is left of it.
    fn power_up(&self) {
        for folder in self.folders.iter().chain([&self.mount]) {
            // Somebody may still have a file of it open for a moment.
            poll_until(SOON, || {
                let ended = Command::new("umount").env("PATH", search_path()).arg(folder).output().unwrap();
                if ended.status.success() { Ok(()) } else { Err(String::from_utf8(ended.stderr).unwrap()) }
            });
        }
        self.mount(false);
    }
}

/// What is left after a cut is whole, and not older than what the program had confirmed.
fn is_sound(scene: &Scene, confirmed: u64, newest: u64) -> Result<u64, String> {
    let text = scene.job.read(FILE).ok_or("the file is gone")?;
    match Scene::generation_of(&text) {
        Some(found) if (confirmed..=newest).contains(&found) => Ok(found),
        found => Err(format!("{found:?} of {confirmed}..={newest}, {} bytes", text.len())),
    }
}

fn cut_at_random_moments(make: &[&str], megabytes: u64, options: &'static str) {
    needs_root("only root mounts a disk");
    let scene = Scene::with_file("    retry: 50ms..200ms\n");
    let disk = Disk::new(&scene, make, megabytes, options);
    let mut generation = 1;
    let (mut behind, mut rounds) = (0, 0);
    for seed in pace::seeds() {
        println!("{} {options}, seed {seed}", make[0]);
        let mut random = StdRng::seed_from_u64(seed);
        for _ in 0..pace::either(8, 50) {
            let daemon = scene.start();
            scene.wait_for_within(Duration::from_secs(10), generation);
            // Writes without a pause, so that the cut comes in the middle of something.
            let cut_after = Duration::from_micros(random.random_range(0..60_000));
            thread::scope(|scope| {
                let cut = scope.spawn(|| {
                    thread::sleep(cut_after);
                    // Read before the cut: what the program shows by now was confirmed by it.
                    let confirmed = scene.served().unwrap();
                    disk.cut_the_power();
                    confirmed
                });
                while !cut.is_finished() {
                    generation += 1;
                    scene.change(generation);
                    thread::sleep(Duration::from_millis(1));
                }
                let confirmed = cut.join().unwrap();
                daemon.kill();
                disk.power_up();
                let found = is_sound(&scene, confirmed, generation).unwrap_or_else(|reason| panic!("{reason}"));
                behind += u32::from(found < generation);
                rounds += 1;
            });
        }
    }
    let daemon = scene.start();
    scene.wait_for_within(Duration::from_secs(10), generation);
    scene.assert_nothing_left();
    daemon.stop();
    println!("{rounds} cuts, {behind} of them with changes that were not on the disk");
}

/// The power was cut at random moments on ext4: the file was old or new and whole, nothing that was confirmed was lost, and the next start finished.
#[test]
fn row_03_power_cut_on_ext4() {
    if is_alone(&[Namespace::Mount]) {
        cut_at_random_moments(&["mkfs.ext4", "-q"], 32, "auto_da_alloc");
    }
}

/// The same on ext4 that does not bring replaced files to the disk by itself.
#[test]
fn row_03_power_cut_on_ext4_without_auto_da_alloc() {
    if is_alone(&[Namespace::Mount]) {
        cut_at_random_moments(&["mkfs.ext4", "-q"], 32, "noauto_da_alloc");
    }
}

/// The same on xfs.
#[test]
fn row_03_power_cut_on_xfs() {
    if is_alone(&[Namespace::Mount]) {
        cut_at_random_moments(&["mkfs.xfs", "-q"], 300, "rw");
    }
}

/// How such a disk keeps a file that is renamed into place without being brought to the disk: empty. So the cuts are real.
#[test]
fn row_03_without_fsync_the_check_fails() {
    if !is_alone(&[Namespace::Mount]) {
        return;
    }
    needs_root("only root mounts a disk");
    let scene = Scene::with_file("");
    let daemon = scene.start();
    scene.wait_for(1);
    daemon.stop();
    let good = scene.job.read(FILE).unwrap();
    let disk = Disk::new(&scene, &["mkfs.ext4", "-q"], 32, "noauto_da_alloc");
    let out = scene.job.folder().path("out");
    let put = |path: &Path| {
        fs::write(path.with_extension("new"), &good).unwrap();
        #[expect(clippy::disallowed_methods, reason = "what is tested is a program that does it wrong")]
        fs::rename(path.with_extension("new"), path).unwrap();
    };
    put(&out.join("app.conf"));
    // The rename reaches the disk with the journal, the content by itself and later.
    let perl = "open F, '>', $ARGV[0] or die $!; use IO::Handle; F->sync or die $!";
    run("perl", &["-e", perl, out.join("other").to_str().unwrap()]);
    disk.cut_the_power();
    disk.power_up();
    let failure = is_sound(&scene, 1, 1).unwrap_err();
    assert!(failure.contains("None of 1..=1") || failure.contains("gone"), "{failure}");
}
