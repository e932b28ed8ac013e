use coracle_engine::state::container::{LogPolicy, Restart};
use coracle_protocol::Rlimit;

use super::*;
use crate::json;

fn body(text: &str) -> Body {
    json::parse(text.as_bytes()).unwrap()
}

fn host(text: &str) -> HostConfig {
    body(&format!(r#"{{"HostConfig":{text}}}"#)).host_config
}

#[test]
fn entry_points_of_several_words_come_before_the_command() {
    let line = |text: &str| command_line(&body(text));
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    assert_eq!(line(r#"{"Cmd":["a"]}"#), (None, words(&["a"])));
    assert_eq!(
        line(r#"{"Entrypoint":["a","b"],"Cmd":["c"]}"#),
        (Some("a".into()), words(&["b", "c"]))
    );
    assert_eq!(
        line(r#"{"Entrypoint":[],"Cmd":"c"}"#),
        (None, words(&["c"]))
    );
    // What takes the image's away.
    assert_eq!(
        line(r#"{"Entrypoint":[""]}"#),
        (Some(String::new()), words(&[]))
    );
}

#[test]
fn limits_are_docker_s_numbers() {
    assert_eq!(
        limits::memory(&host(r#"{"Memory":67108864}"#)),
        Ok(Some(64 << 20))
    );
    assert_eq!(limits::memory(&host("{}")), Ok(None));
    let error = limits::memory(&host(r#"{"Memory":4}"#)).unwrap_err();
    assert_eq!(error.message, "Minimum memory limit allowed is 6MB");
    assert_eq!(
        limits::cpu(&host(r#"{"NanoCpus":1500000000}"#)),
        Ok(Some(1500))
    );
    let quota = host(r#"{"CpuQuota":50000,"CpuPeriod":100000}"#);
    assert_eq!(limits::cpu(&quota), Ok(Some(500)));
    assert!(limits::cpu(&host(r#"{"NanoCpus":1,"CpuQuota":1}"#)).is_err());
    assert!(limits::cpu(&host(r#"{"NanoCpus":1}"#)).is_err());
    assert!(limits::cpu(&host(r#"{"NanoCpus":-1}"#)).is_err());
    let limit = host(r#"{"Ulimits":[{"Name":"nofile","Soft":10,"Hard":-1}]}"#);
    let expected = Rlimit {
        resource: 7,
        soft: 10,
        hard: u64::MAX,
    };
    assert_eq!(limits::rlimits(&limit), Ok(vec![expected]));
    for wrong in [
        r#"{"Ulimits":[{"Name":"files","Soft":1,"Hard":1}]}"#,
        r#"{"Ulimits":[{"Name":"nofile","Soft":2,"Hard":1}]}"#,
    ] {
        assert!(limits::rlimits(&host(wrong)).is_err(), "{wrong}");
    }
    assert!(limits::sysctls(&host(r#"{"Sysctls":{"x y":"1"}}"#)).is_err());
}

#[test]
fn both_forms_of_a_tmpfs_are_one() {
    let wanted = host(
        r#"{"Tmpfs":{"/a":"size=1m,mode=700","/b":""},
        "Mounts":[{"Type":"tmpfs","Target":"/c","TmpfsOptions":{"SizeBytes":4096,"Mode":448}}]}"#,
    );
    let all = limits::tmpfs(&wanted).unwrap();
    let shown: Vec<String> = all
        .iter()
        .map(|(path, options)| format!("{path} {}", options.join(",")))
        .collect();
    assert_eq!(
        shown,
        ["/a size=1m,mode=700", "/b ", "/c size=4096,mode=700"]
    );
    assert!(limits::tmpfs(&host(r#"{"Tmpfs":{"a":""}}"#)).is_err());
}

#[test]
fn policies_are_docker_s() {
    let restart = |text: &str| policies::restart(&host(text));
    assert_eq!(restart("{}"), Ok(Restart::No));
    let text = r#"{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3}}"#;
    assert_eq!(restart(text), Ok(Restart::OnFailure(3)));
    assert!(restart(r#"{"RestartPolicy":{"Name":"sometimes"}}"#).is_err());
    assert!(restart(r#"{"RestartPolicy":{"Name":"always"},"AutoRemove":true}"#).is_err());
    let log = |text: &str| policies::log(&host(text));
    assert_eq!(log(r#"{"LogConfig":{"Type":"none"}}"#), Ok(LogPolicy::None));
    let text = r#"{"LogConfig":{"Type":"json-file","Config":{"max-size":"1m","max-file":"3"}}}"#;
    assert_eq!(log(text), Ok(LogPolicy::Local(1 << 20)));
}

#[test]
fn security_options_are_understood_or_refused() {
    let options = |text: &str| {
        let wanted = host(text);
        security::no_new_privileges(&wanted)
            .and_then(|first| Ok((first, security::seccomp_unconfined(&wanted)?)))
    };
    assert_eq!(
        options(r#"{"SecurityOpt":["no-new-privileges"]}"#),
        Ok((true, false))
    );
    assert_eq!(
        options(r#"{"SecurityOpt":["seccomp=unconfined"]}"#),
        Ok((false, true))
    );
    assert_eq!(
        options(r#"{"SecurityOpt":["label=disable"]}"#),
        Ok((false, false))
    );
    assert_eq!(
        options(r#"{"SecurityOpt":["seccomp={}"]}"#)
            .unwrap_err()
            .status,
        501
    );
    assert!(security::capabilities(&host(r#"{"CapAdd":["CAP_FLY"]}"#)).is_err());
    let all = security::capabilities(&host(r#"{"CapDrop":["ALL"],"CapAdd":["CHOWN"]}"#));
    assert_eq!(all, Ok(1));
}

#[test]
fn hosts_are_names_and_addresses() {
    let hosts =
        |text: &str| network::extra_hosts(&host(&format!(r#"{{"ExtraHosts":["{text}"]}}"#)));
    assert_eq!(
        hosts("db:10.0.0.1"),
        Ok(vec![("db".into(), "10.0.0.1".into())])
    );
    assert_eq!(hosts("db:::1"), Ok(vec![("db".into(), "::1".into())]));
    assert_eq!(hosts("db=[::1]"), Ok(vec![("db".into(), "::1".into())]));
    for wrong in ["db", "db:x", "a b:10.0.0.1", ":10.0.0.1"] {
        assert!(hosts(wrong).is_err(), "{wrong}");
    }
}
