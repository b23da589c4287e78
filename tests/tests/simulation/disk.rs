//! What a disk may still hold after the power went: everything that was synced, and of all later writes
//! any sectors in any order. Knows files and bytes, not the log.

use super::dice::Dice;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// What a disk writes whole.
const SECTOR: usize = 512;

/// The files of a folder by name.
pub type Files = BTreeMap<PathBuf, Vec<u8>>;

/// All files of the folder itself; those of folders inside are left out.
pub fn read(dir: &Path) -> Files {
    let Ok(entries) = fs::read_dir(dir) else { return Files::new() };
    let paths = entries.map(|entry| entry.expect("it can be listed").path()).filter(|path| path.is_file());
    paths.map(|path| (path.clone(), fs::read(&path).expect("it can be read"))).collect()
}

/// What the disk promised, and what it was given beside.
#[derive(Default)]
pub struct Disk {
    /// As of the last sync that was answered.
    synced: Files,
    /// Contents that were written since, and perhaps taken back, without a sync.
    written: Vec<Files>,
}

impl Disk {
    /// The folder was synced as it is. A file that a removal has not reached is kept as it was: names
    /// are synced apart.
    pub fn synced(&mut self, dir: &Path) {
        self.synced.extend(read(dir));
        self.written.clear();
    }

    /// The folder was written to, and that may or may not get to the disk.
    pub fn written(&mut self, dir: &Path) {
        self.written.push(read(dir));
    }

    /// Nothing promises any more that these are there.
    pub fn removed(&mut self, dir: &Path, dice: &mut Dice) {
        let there = read(dir);
        self.synced.retain(|path, _| there.contains_key(path) || dice.chance(0.5));
    }

    /// The power goes: the folder then holds what was synced, under any sectors of what was written later.
    /// Returns whether a write was torn.
    pub fn cut(&mut self, dir: &Path, dice: &mut Dice) -> bool {
        self.written(dir);
        let mut files = self.synced.clone();
        let mut torn = false;
        for later in std::mem::take(&mut self.written) {
            for (path, bytes) in later {
                // Its name is synced before anything is written to it.
                let kept = files.entry(path).or_default();
                let whole = kept.clone();
                overlay(kept, &bytes, dice);
                torn |= *kept != whole && *kept != bytes;
            }
        }
        for path in read(dir).into_keys() {
            fs::remove_file(path).expect("it can be removed");
        }
        for (path, bytes) in &files {
            fs::write(path, bytes).expect("it can be written");
        }
        self.synced = files;
        torn
    }
}

/// Puts any sectors of `later` over `kept`: all up to a point, and beyond it each or not; what is missing
/// in between reads as zeros. What `later` has in common with `kept` is left.
fn overlay(kept: &mut Vec<u8>, later: &[u8], dice: &mut Dice) {
    let same = kept.iter().zip(later).take_while(|(left, right)| left == right).count();
    // A file that was only cut: the cut may be lost as well.
    if same == later.len() {
        if dice.chance(0.5) {
            kept.truncate(same);
        }
        return;
    }
    let length = same + usize::try_from(dice.below((later.len() - same) as u64 + 1)).expect("it is the length of a slice");
    let in_order = dice.chance(0.5);
    kept.resize(length.max(kept.len()), 0);
    for from in (same / SECTOR * SECTOR..length).step_by(SECTOR) {
        if in_order || dice.chance(0.7) {
            let range = from.max(same)..(from + SECTOR).min(length);
            kept[range.clone()].copy_from_slice(&later[range]);
        }
    }
}
