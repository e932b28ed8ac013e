use super::{super::recipe::Recipe, *};
use crate::kernel::Unobserved;

/// A recipe whose script does what `body` says.
fn cache_with(directory: &Path, body: &str) -> Cache {
    let script = format!("set -eu; mkdir -p \"$1\"; cd \"$1\"; {body}");
    let files = vec![("build.sh", &*String::leak(script)), ("source", "")];
    Cache::new(directory, Recipe::of(Vec::leak(files)))
}

fn run(cache: &Cache) -> Result<PathBuf, KernelError> {
    let lock = cache.lock(|_| {}).unwrap();
    build(cache, &lock, None, &mut Unobserved)
}

#[test]
fn lines_of_the_script_are_understood() {
    assert_eq!(
        Line::parse("step unpacking it all"),
        Line::Step("unpacking it all")
    );
    assert_eq!(
        Line::parse("progress 12/900"),
        Line::Files {
            done: 12,
            total: 900
        }
    );
    assert_eq!(Line::parse("progress twelve"), Line::Other);
    assert_eq!(Line::parse("error no gcc"), Line::Error("no gcc"));
    assert_eq!(Line::parse(""), Line::Other);
}

#[test]
fn built_kernel_is_found_listed_and_leaves_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let kernel = directory.path().join("prepared");
    fs::write(&kernel, check::samples::pvh_elf()).unwrap();
    let body = format!(
        "cp {} vmlinux; echo c > config; echo '6.12.1-1 0123456789abcdef01' > source; touch rest",
        kernel.display()
    );
    let cache = cache_with(directory.path(), &body);
    assert_eq!(cache.find(), None);
    fs::create_dir_all(cache.directory().join(".build-killed/tree")).unwrap();

    let path = run(&cache).unwrap();

    assert_eq!(path, cache.place("0123456789abcdef01").join("vmlinux"));
    assert_eq!(cache.find(), Some(path.clone()));
    assert!(path.metadata().unwrap().permissions().readonly());
    let listed = cache.list().unwrap();
    assert_eq!(listed.len(), 1);
    assert!(listed[0].current && listed[0].path == path && listed[0].source == "6.12.1-1");
    let mut names: Vec<_> = fs::read_dir(cache.directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names.contains(&"lock".to_owned()));
}

#[test]
fn reason_of_the_script_is_the_error_and_its_log_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache_with(
        directory.path(),
        "echo all > build.log; echo error no flex; exit 1",
    );
    let Err(KernelError::Build {
        reason,
        log: Some(log),
    }) = run(&cache)
    else {
        panic!("the build did not fail");
    };
    assert_eq!(reason, "no flex");
    assert_eq!(fs::read_to_string(log).unwrap(), "all\n");
    assert_eq!(cache.find(), None);
}

#[test]
fn script_that_breaks_without_a_word_is_quoted() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache_with(directory.path(), "echo disk on fire >&2; exit 3");
    let Err(KernelError::Build { reason, log: None }) = run(&cache) else {
        panic!("the build did not fail");
    };
    assert!(
        reason.contains('3') && reason.contains("disk on fire"),
        "{reason}"
    );
}

#[test]
fn interrupted_script_is_no_failed_build() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache_with(directory.path(), "exit 130");
    assert!(matches!(run(&cache), Err(KernelError::Interrupted)));
}

#[test]
fn result_that_is_no_kernel_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache_with(
        directory.path(),
        "echo x > vmlinux; echo x > config; echo x y > source",
    );
    assert!(matches!(run(&cache), Err(KernelError::NotBootable { .. })));
    assert_eq!(cache.find(), None);
}

#[test]
fn second_builder_waits_for_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let cache = cache_with(directory.path(), "exit 1");
    let first = cache.lock(|_| {}).unwrap();
    let (sender, said) = mpsc::channel();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let lock = cache.lock(|text| sender.send(text.to_owned()).unwrap());
            lock.map(|_| ())
        });
        assert!(said.recv().unwrap().contains("waiting"));
        assert!(!waiting.is_finished());
        drop(first);
        waiting.join().unwrap().unwrap();
    });
}
