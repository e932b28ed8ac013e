use std::time::{Duration, Instant};

use super::*;
use crate::{
    keeper::execs::tests::keeper,
    state::{
        Directories,
        container::{Config, Containers},
    },
};

const CONTAINER: &str = include_str!("../fuzzing/container.json");

/// A keeper with a container that runs or starts, which is given all the time that there is, and more.
fn patient(runs: bool) -> (tempfile::TempDir, Keeper, u32) {
    let (directory, mut keeper) = keeper();
    let path = directory.path();
    let directories = Directories {
        data: path.into(),
        cache: path.into(),
        runtime: path.into(),
    };
    let mut config: Config = serde_json::from_str(CONTAINER).unwrap();
    config.stop_timeout = u64::MAX;
    config.timeout = Some(u64::MAX);
    let record = Containers::new(&directories).create(config).unwrap();
    let lock = record.keeper_lock().unwrap();
    let number = keeper.take(record, lock).unwrap();
    let life = &mut keeper.kept.get_mut(&number).unwrap().life;
    match runs {
        true => life.runs(),
        false => life.starts(),
    }
    (directory, keeper, number)
}

#[test]
fn no_time_to_stop_is_too_long_for_a_keeper() {
    let years = Duration::from_secs(90 * 365 * 86400);
    for runs in [true, false] {
        for seconds in [Some(u64::MAX), Some(u64::MAX / 2), None] {
            let (_directory, mut keeper, number) = patient(runs);
            let next = |keeper: &Keeper| keeper.kept[&number].life.next().unwrap();
            keeper.stop(number, None, seconds, By::Stop);
            assert!(next(&keeper) > Instant::now() + years);
            // A shorter time is heard after it.
            keeper.stop(number, None, Some(1), By::Stop);
            assert!(next(&keeper) < Instant::now() + years);
        }
    }
}

#[test]
fn no_time_of_a_container_is_too_long_for_its_keeper() {
    let (_directory, mut keeper, number) = patient(true);
    keeper.on(number, Input::Interrupt(2));
    assert!(keeper.kept[&number].life.next().is_some());
    let (_directory, mut keeper, number) = patient(false);
    keeper.on(number, Input::Started { pid: 7 });
    assert!(keeper.kept[&number].life.next().is_some());
}
