//! Debian's docker-registry on a free port.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    thread,
};

use tempfile::TempDir;

use super::{Image, MANIFEST, sha256, tool};

/// What a registry asks of its clients.
#[derive(Default, Clone, Copy)]
pub(super) struct Options {
    /// Name and password `boat`, `secret`.
    pub(super) password: bool,
    pub(super) tls: bool,
    /// A certificate of the client's, which implies TLS.
    pub(super) client_certificate: bool,
}

/// A registry that ends with this value.
pub(crate) struct Registry {
    child: Child,
    directory: TempDir,
    options: Options,
    /// Host and port.
    pub(crate) address: String,
}

impl Registry {
    pub(crate) fn start() -> Self {
        Self::with(Options::default())
    }

    pub(super) fn with(options: Options) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let data = path.join("data").display().to_string();
        let mut configuration = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {data}}}}}\n"
        );
        if options.password {
            let line = tool(path, "htpasswd", &["-Bbn", "boat", "secret"]);
            fs::write(path.join("htpasswd"), line).unwrap();
            configuration += &format!(
                "auth: {{htpasswd: {{realm: boats, path: {}/htpasswd}}}}\n",
                path.display()
            );
        }
        configuration += "http:\n  addr: 127.0.0.1:0\n";
        if options.tls || options.client_certificate {
            certificates(path);
            let path = path.display();
            configuration += &format!(
                "  tls:\n    certificate: {path}/server.crt\n    key: {path}/server.key\n"
            );
            if options.client_certificate {
                configuration += &format!("    clientcas: [{path}/ca.crt]\n");
            }
        }
        let file = path.join("config.yml");
        fs::write(&file, configuration).unwrap();
        let mut child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines.by_ref().find_map(|line| {
            let line = line.unwrap();
            let (_, rest) = line.split_once("listening on ")?;
            let end = rest.find([',', '"']).unwrap_or(rest.len());
            Some(rest[..end].to_owned())
        });
        // It stops when nobody reads what it says.
        thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            directory,
            options,
            address: address.expect("the registry listens"),
        }
    }

    /// A name of an image in it.
    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// A file of the registry's: `ca.crt`, `client.crt`, `client.key`.
    pub(super) fn file(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).unwrap()
    }

    /// Copies an image into it by skopeo.
    pub(crate) fn copy(&self, from: &str, name: &str, more: &[&str]) {
        let to = format!("docker://{}", self.name(name));
        let mut arguments = vec!["copy", "-q", "--insecure-policy", "--dest-tls-verify=false"];
        if self.options.password {
            arguments.extend(["--dest-creds", "boat:secret"]);
        }
        arguments.extend(more);
        arguments.extend([from, &to]);
        tool(self.directory.path(), "skopeo", &arguments);
    }

    /// Puts an image into it as it is, under a tag; gives the manifest's digest.
    pub(crate) fn push(&self, repository: &str, tag: &str, image: &Image) -> String {
        self.put_blob(repository, &image.config);
        for layer in &image.layers {
            self.put_blob(repository, &layer.blob);
        }
        self.put_manifest(repository, tag, MANIFEST, &image.manifest)
    }

    pub(super) fn put_manifest(
        &self,
        repository: &str,
        tag: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> String {
        let header = format!("content-type: {media_type}");
        self.curl(
            bytes,
            "PUT",
            &format!("{repository}/manifests/{tag}"),
            &header,
        );
        sha256(bytes)
    }

    fn put_blob(&self, repository: &str, bytes: &[u8]) {
        let digest = sha256(bytes);
        let begun = self.curl(
            b"",
            "POST",
            &format!("{repository}/blobs/uploads/"),
            "content-length: 0",
        );
        let location = begun
            .lines()
            .find_map(|line| line.strip_prefix("Location: "))
            .expect("a place to upload to")
            .trim();
        let (_, path) = location.split_once("/v2/").unwrap();
        let header = "content-type: application/octet-stream";
        self.curl(bytes, "PUT", &format!("{path}&digest={digest}"), header);
    }

    /// One request; gives its headers.
    fn curl(&self, body: &[u8], method: &str, path: &str, header: &str) -> String {
        let file = self.directory.path().join("body");
        fs::write(&file, body).unwrap();
        let tls = self.options.tls || self.options.client_certificate;
        let scheme = if tls { "https" } else { "http" };
        let address = format!("{scheme}://{}/v2/{path}", self.address);
        let mut arguments = vec![
            "-sSkf",
            "--http1.1",
            "-X",
            method,
            "-H",
            header,
            "-D",
            "-",
            "-o",
            "/dev/null",
        ];
        if self.options.password {
            arguments.extend(["-u", "boat:secret"]);
        }
        if self.options.client_certificate {
            arguments.extend(["--cert", "client.crt", "--key", "client.key"]);
        }
        arguments.extend(["--data-binary", "@body", &address]);
        let output = tool(self.directory.path(), "curl", &arguments);
        String::from_utf8(output).unwrap()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An authority, and certificates of a server and of a client by it.
fn certificates(directory: &std::path::Path) {
    let script = "
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority \
          -addext basicConstraints=critical,CA:TRUE -keyout ca.key -out ca.crt
        for name in server client; do
          openssl req -newkey rsa:2048 -nodes -subj /CN=$name -keyout $name.key -out $name.csr
          printf 'subjectAltName=IP:127.0.0.1,DNS:localhost\\nbasicConstraints=CA:FALSE\\n' >$name.ext
          openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 \
            -extfile $name.ext -out $name.crt
        done";
    tool(directory, "bash", &["-euc", script]);
}
