import docker

client = docker.from_env()
assert client.ping()
assert client.version()["ApiVersion"] == "1.45"
assert client.info()["OSType"] == "linux"

# In the foreground, with its output.
assert client.containers.run("busybox", "echo hello", remove=True) == b"hello\n"
try:
    client.containers.run("busybox", ["sh", "-c", "echo wrong >&2; exit 3"], remove=True)
    raise AssertionError("it fails")
except docker.errors.ContainerError as error:
    assert error.exit_status == 3, error
    assert b"wrong" in error.stderr, error.stderr

# In the background.
container = client.containers.run(
    "busybox", ["sh", "-c", "echo ready; sleep 1000"], detach=True, name="docker-py",
    labels={"suite": "docker-py"}, environment={"A": "b"}, mem_limit="64m", tty=False,
)
try:
    assert len(container.id) == 64
    container.reload()
    assert container.status == "running", container.status
    assert container.attrs["HostConfig"]["Memory"] == 64 << 20
    assert "A=b" in container.attrs["Config"]["Env"]
    assert container.image.tags == ["busybox:latest"], container.image.tags
    listed = client.containers.list(all=True, filters={"label": ["suite=docker-py"]})
    assert [one.id for one in listed] == [container.id], listed
    assert next(container.logs(stream=True, follow=True)) == b"ready\n"

    # Streams without an upgrade in older releases.
    code, output = container.exec_run(["sh", "-c", "echo out; echo err >&2; exit 5"], demux=True)
    assert code == 5 and output == (b"out\n", b"err\n"), (code, output)
    code, output = container.exec_run("cat", stdin=False)
    assert code == 0 and output == b"", (code, output)
    assert container.exec_run("no-such-program").exit_code in (126, 127)

    try:
        client.containers.create("busybox", "true", name="docker-py")
        raise AssertionError("the name is taken")
    except docker.errors.APIError as error:
        assert error.status_code == 409, error
    container.stop(timeout=0)
    assert container.wait()["StatusCode"] == 137
    container.start()
    container.kill()
    assert container.wait()["StatusCode"] == 137
finally:
    container.remove(force=True)

try:
    client.containers.get("docker-py")
    raise AssertionError("it is gone")
except docker.errors.NotFound:
    pass
try:
    client.images.get("nosuch:1")
    raise AssertionError("there is none")
except docker.errors.ImageNotFound:
    pass
assert any("busybox:latest" in image.tags for image in client.images.list())
print("all is well")
