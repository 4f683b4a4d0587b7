"""What containers run as, and whom a predictor reaches: seen from inside."""

import json

import httpx
import pytest

from scripts.compose_sizes import docker
from tests.containers.stack import Stack, addresses, inside, inspected, service_of

pytestmark = pytest.mark.timeout(3600)
SERVICES = {"postgres", "nats", "mlflow", "trainer", "promoter", "predictor", "proxy"}
# Tries each address of its input and prints, by address, what came of it.
REACH = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def outcome(address):
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=3).close()
    except OSError as error:
        return type(error).__name__ + ": " + str(error)
    return "open"
addresses = json.load(sys.stdin)
print(json.dumps(dict(zip(addresses, ThreadPoolExecutor(len(addresses)).map(outcome, addresses)))))
"""
PORTS = {"postgres": 5432, "mlflow": 5000, "promoter": 8001, "trainer": 8002}
NOWHERE = "192.0.2.1:443"  # outside: an address for documentation (RFC 5737)


def reached(container: str, targets: list[str]) -> dict[str, str]:
    done = inside(container, "python", "-c", REACH, stdin=json.dumps(targets))
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_every_container_is_hardened(stack: Stack) -> None:
    containers = stack.containers()
    assert {service_of(container) for container in containers} == SERVICES
    for container in containers:
        found = inspected(container)
        host, user = found["HostConfig"], found["Config"]["User"]
        assert host["CapDrop"] == ["ALL"], service_of(container)
        assert not host["CapAdd"], service_of(container)
        assert not host["Privileged"], service_of(container)
        assert "no-new-privileges:true" in host["SecurityOpt"], service_of(container)
        assert host["ReadonlyRootfs"], service_of(container)
        assert host["LogConfig"]["Type"] == "local", service_of(container)
        assert 0 < host["PidsLimit"] <= 1000, service_of(container)
        assert user not in {"", "0", "root"}, service_of(container)


def test_every_volume_has_a_name(stack: Stack) -> None:
    """What has none is left behind by `down`, and found by nobody after `up`."""
    for container in stack.containers():
        volumes = [mount["Name"] for mount in inspected(container)["Mounts"] if mount["Type"] == "volume"]
        assert all(name.startswith(stack.project) for name in volumes), service_of(container)


def test_nothing_can_be_written_to_a_container(stack: Stack) -> None:
    for container in stack.containers():
        service = service_of(container)
        for place in ("/", "/usr", "/etc", "/run/baton"):
            tried = inside(container, "touch", f"{place}/written")
            assert tried.returncode != 0, f"{service} writes to {place}"
        identity = inside(container, "cat", "/proc/1/status").stdout
        fields = dict(line.split(":", 1) for line in identity.splitlines())
        assert "0" not in fields["Uid"].split(), f"{service} runs as root"
        assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0, f"{service} has capabilities"
        assert fields["NoNewPrivs"].strip() == "1", service


def test_a_predictor_reaches_nats_and_nobody_else(stack: Stack) -> None:
    (predictor,) = stack.containers("predictor")
    own = set(addresses(predictor))
    others = {service: stack.containers(service)[0] for service in PORTS}
    by_name = [f"{service}:{port}" for service, port in PORTS.items()]
    by_address = [
        f"{address}:{PORTS[service]}" for service, other in others.items() for address in addresses(other).values()
    ]
    assert all(own.isdisjoint(addresses(other)) for other in others.values())
    found = reached(predictor, ["nats:4222", *by_name, *by_address, NOWHERE])
    assert found.pop("nats:4222") == "open"
    assert {address: said for address, said in found.items() if said == "open"} == {}
    assert {docker("network", "inspect", "--format", "{{.Internal}}", network) for network in own} == {"true"}
    # The same from containers that may: so it is the network that says no.
    assert set(reached(others["trainer"], by_name[1:]).values()) == {"open"}
    assert set(reached(others["promoter"], by_name[:1]).values()) == {"open"}


def test_a_trainer_does_not_reach_the_database(stack: Stack) -> None:
    (trainer,), (postgres,) = stack.containers("trainer"), stack.containers("postgres")
    targets = [f"{place}:5432" for place in ("postgres", *addresses(postgres).values())]
    assert "open" not in reached(trainer, targets).values()


def test_a_predictor_has_no_credentials_but_its_own(stack: Stack) -> None:
    (predictor,) = stack.containers("predictor")
    secrets = inside(predictor, "ls", "/run/baton").stdout.split()
    assert "BATON_NATS_URL" in secrets
    said = inside(predictor, "cat", "/proc/1/environ").stdout + docker("inspect", predictor)
    assert not {"BATON_DATABASE_URL", "MLFLOW_TRACKING_URI", "MLFLOW_BACKEND_STORE_URI"} & set(secrets)
    assert "postgres" not in said


def test_a_name_that_was_made_up_for_this_machine_is_refused(stack: Stack) -> None:
    for service, port in (("promoter", 8001), ("mlflow", 5000)):
        url = stack.url(service, port)
        assert httpx.get(f"{url}/", headers={"Host": "made-up.example"}, trust_env=False).status_code in {400, 403}
        assert httpx.get(f"{url}/health", trust_env=False).status_code == 200


def test_published_ports_are_this_machine_s_alone(stack: Stack) -> None:
    for container in stack.containers():
        for bound in inspected(container)["NetworkSettings"]["Ports"].values():
            assert {one["HostIp"] for one in bound or ()} <= {"127.0.0.1"}, service_of(container)
