use super::*;
use crate::{
    keeper::execs::tests::keeper,
    state::{
        Directories,
        container::{Config, Containers},
    },
};

const CONTAINER: &str = include_str!("../fuzzing/container.json");

/// A keeper with a container in this phase, which is given all the time that there is, and more.
fn patient(phase: Phase) -> (tempfile::TempDir, Keeper, u32) {
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
    keeper.kept.get_mut(&number).unwrap().phase = phase;
    (directory, keeper, number)
}

#[test]
fn no_time_to_stop_is_too_long_for_a_keeper() {
    let years = Duration::from_secs(90 * 365 * 86400);
    for phase in [Phase::Running, Phase::Starting] {
        for seconds in [Some(u64::MAX), Some(u64::MAX / 2), None] {
            let phase = match phase {
                Phase::Running => Phase::Running,
                _ => Phase::Starting,
            };
            let (_directory, mut keeper, number) = patient(phase);
            keeper.stop(number, None, seconds, true);
            let (at, _) = keeper.kept[&number].deadline.unwrap();
            assert!(at > Instant::now() + years);
            // A shorter time is heard after it.
            keeper.stop(number, None, Some(1), true);
            let (at, _) = keeper.kept[&number].deadline.unwrap();
            assert!(at < Instant::now() + years);
        }
    }
}

#[test]
fn no_time_of_a_container_is_too_long_for_its_keeper() {
    let (_directory, mut keeper, number) = patient(Phase::Running);
    keeper.interrupt(number, SIGINT);
    assert!(keeper.kept[&number].interrupted.is_some());
    keeper.started(number);
    assert!(keeper.kept[&number].deadline.is_some());
}
