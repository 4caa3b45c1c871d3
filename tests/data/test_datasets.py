"""Loaders of data files: the places they search, and downloads from a local test server."""

import functools
import gzip
import hashlib
import http.server
import io
import os
import re
import socket
import sys
import tarfile
import threading

import jax
import joblib
import numpy as np
import pooch
import pytest
import requests
import sklearn.datasets
import tqdm.auto
from helpers import idx

import fnn
from fnn.data import download
from fnn.data.datasets import _FIRST_LABELS


@pytest.fixture(autouse=True)
def isolated_cache(tmp_path, monkeypatch):
    """A cache in a temporary folder, and no download URLs unless a test sets them."""
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    for dataset, files in download.SOURCES.items():
        monkeypatch.setitem(download.SOURCES, dataset, {k: s._replace(urls=()) for k, s in files.items()})
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def no_folder(monkeypatch):
    monkeypatch.delenv("FNN_DATA", raising=False)


# --------------------------------------------------------------------------------------------------------------- images
def write_images(folder, lengths=(5, 5, 3, 3), size=(28, 28), first=0):
    folder.mkdir(parents=True, exist_ok=True)
    for i, split in enumerate(("train", "t10k")):
        x = np.arange(lengths[2 * i] * size[0] * size[1]).astype("u1").reshape(-1, *size)
        y = np.arange(first, first + lengths[2 * i + 1]).astype("u1")
        (folder / f"{split}-images-idx3-ubyte").write_bytes(idx(x, 8))
        (folder / f"{split}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(y, 8)))


LOADERS = {"mnist": fnn.data.mnist, "fashion-mnist": fnn.data.fashion_mnist, "fashion_mnist": fnn.data.fashion_mnist}


@pytest.mark.parametrize("name", LOADERS)
def test_images_from_a_folder(name, tmp_path, monkeypatch):
    write_images(tmp_path / name)
    load = LOADERS[name]
    for folder in (tmp_path, str(tmp_path / name)):
        out = load(folder)
        assert [a.shape for a in out[:4]] == [(5, 28, 28), (5,), (3, 28, 28), (3,)]
        assert out.y_test.tolist() == [0, 1, 2]
        assert (out.x_train.dtype, out.y_train.dtype) == (np.uint8, np.int32)
        assert out.x_train[1, 0, 0] == 784 % 256
        assert len(set(out.classes)) == 10
        assert out.classes[9] == ("9" if name == "mnist" else "Ankle boot")
    monkeypatch.setenv("FNN_DATA", str(tmp_path))
    np.testing.assert_array_equal(load().x_train, out.x_train)


def test_the_argument_takes_precedence_over_the_variable(tmp_path, monkeypatch):
    write_images(tmp_path / "one", first=0)
    write_images(tmp_path / "two", first=4)
    monkeypatch.setenv("FNN_DATA", str(tmp_path / "one"))
    assert fnn.data.mnist(tmp_path / "two").y_test.tolist() == [4, 5, 6]
    assert fnn.data.mnist().y_test.tolist() == [0, 1, 2]
    # What is not in the folder named by the argument is not looked for anywhere else.
    (tmp_path / "two" / "t10k-labels-idx1-ubyte.gz").unlink()
    wanted = "t10k-labels-idx1-ubyte.gz or t10k-labels-idx1-ubyte in .*two or its subfolder mnist, got no such file"
    with pytest.raises(fnn.InputError, match=f"mnist: expected {wanted}. Leave the folder out to have it downloaded"):
        fnn.data.mnist(tmp_path / "two")


def test_missing_folders_are_refused(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(fnn.InputError, match=r"mnist: expected a folder, got .*nowhere, which does not exist"):
        fnn.data.mnist(tmp_path / "nowhere")
    with pytest.raises(fnn.InputError, match=r"nietzsche: expected a folder, got .*file, which is a file"):
        fnn.data.nietzsche(tmp_path / "file")
    monkeypatch.setenv("FNN_DATA", str(tmp_path / "nowhere"))
    for load in (fnn.data.mnist, fnn.data.shipping, fnn.data.california_housing):
        with pytest.raises(fnn.InputError, match=r"FNN_DATA: expected a folder, got .*nowhere, which does not exist"):
            load()


def test_invalid_images_are_refused(tmp_path):
    write_images(tmp_path, (5, 4, 3, 3))
    with pytest.raises(fnn.InputError, match=r"train-images-idx3-ubyte and train-labels.*as many uint8 images as"):
        fnn.data.mnist(tmp_path)
    write_images(tmp_path, (0, 0, 3, 3))
    with pytest.raises(fnn.InputError, match=r"as many uint8 images as labels, got \(0, 28, 28\)"):
        fnn.data.mnist(tmp_path)
    write_images(tmp_path, size=(32, 30))
    with pytest.raises(fnn.InputError, match="images of 28 by 28 pixels, got 32 by 30"):
        fnn.data.mnist(tmp_path)
    write_images(tmp_path, first=8)
    with pytest.raises(fnn.InputError, match="integer labels from 0 to 9, got uint8 from 8 to 12"):
        fnn.data.mnist(tmp_path)
    write_images(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes((tmp_path / "t10k-images-idx3-ubyte").read_bytes())
    with pytest.raises(fnn.InputError, match="as many uint8 images as labels"):
        fnn.data.mnist(tmp_path)


@pytest.mark.parametrize(("right", "wrong"), [("mnist", "fashion_mnist"), ("fashion_mnist", "mnist")])
@pytest.mark.parametrize("split", ["train", "t10k"])
def test_files_of_the_other_images(right, wrong, split, tmp_path):
    write_images(tmp_path, (10, 10, 10, 10))
    labels = np.array(_FIRST_LABELS[right, split], "u1")
    (tmp_path / f"{split}-labels-idx1-ubyte.gz").write_bytes(idx(labels, 8))
    assert LOADERS[right](tmp_path).classes
    with pytest.raises(fnn.InputError, match=f"expected the files of {wrong}, got those of {right}. Keep them in"):
        LOADERS[wrong](tmp_path)


# ------------------------------------------------------------------------------------------------------------- download
class Server:
    """Serves ``files`` under their paths: bytes, a status, ("cut", bytes), or nothing until it closes."""

    def __init__(self):
        self.files, self.asked, self.go_on = {}, [], threading.Event()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                server.asked.append(self.path)
                what = server.files.get(self.path, 404)
                if what == "hang":
                    server.go_on.wait()
                    return
                if isinstance(what, int):
                    self.send_error(what)
                    return
                how, body = what if isinstance(what, tuple) else ("whole", what)
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                middle = len(body) // 2
                self.wfile.write(body[:middle])
                self.wfile.flush()
                if how != "cut":
                    self.wfile.write(body[middle:])

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self):
        self.go_on.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


def publish(monkeypatch, dataset, contents, bases):
    """Let the files of a data set lie under each base address."""
    digest = {name: hashlib.sha256(body).hexdigest() for name, body in contents.items()}
    files = {
        name: download.RemoteFile(name, f"sha256:{digest[name]}", tuple(b + name for b in bases)) for name in contents
    }
    monkeypatch.setitem(download.SOURCES, dataset, files)


def files_in(folder):
    return sorted(p.name for p in folder.rglob("*") if p.is_file())


def packed_images(folder, first=0):
    write_images(folder, first=first)
    files = [(p.name.removesuffix(".gz") + ".gz", p.read_bytes()) for p in folder.iterdir()]
    return {name: body if body[:2] == b"\x1f\x8b" else gzip.compress(body) for name, body in files}


@pytest.mark.usefixtures("no_folder")
@pytest.mark.parametrize("dataset", ["mnist", "fashion_mnist"])
def test_a_download_is_kept(dataset, server, tmp_path, monkeypatch, capsys):
    contents = packed_images(tmp_path / "original")
    server.files = {f"/a/{name}": body for name, body in contents.items()}
    publish(monkeypatch, dataset, contents, [server.url + "a/"])
    load = LOADERS[dataset]
    first = load()
    np.testing.assert_array_equal(first.x_train, load(tmp_path / "original").x_train)
    assert sorted(server.asked) == sorted(server.files)
    shown = capsys.readouterr().err
    for name in contents:
        assert re.search(rf"{name}: 100%\|", shown), "a progress bar for each file"
    again = load()
    assert len(server.asked) == 4, "the second call asks for nothing"
    assert capsys.readouterr().err == ""
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert files_in(tmp_path / "cache" / "fnn") == sorted(contents)
    # Offline and without a cache, the error names all files that would help.
    server.files = {}
    (tmp_path / "cache" / "fnn" / dataset / "t10k-images-idx3-ubyte.gz").unlink()
    with pytest.raises(fnn.data.DownloadError, match=f"put {', '.join(contents)} into a folder"):
        load()


@pytest.mark.usefixtures("no_folder")
def test_the_download_updates_the_progress_bar(server, monkeypatch, capsys):
    at_each_chunk = functools.partial(tqdm.auto.tqdm, mininterval=0, miniters=1)
    monkeypatch.setattr(tqdm.auto, "tqdm", at_each_chunk)
    text = "To be read at leisure. " * 20_000
    server.files = {"/nietzsche.txt": text.encode()}
    publish(monkeypatch, "nietzsche", {"nietzsche.txt": text.encode()}, [server.url])
    with pytest.warns(UserWarning, match="has 460,000 characters"):
        assert fnn.data.nietzsche() == text
    shown = [int(percent) for percent in re.findall(r"nietzsche.txt: +(\d+)%.*?/460k", capsys.readouterr().err)]
    assert shown == sorted(shown)
    assert any(10 < percent < 90 for percent in shown)
    assert shown[-1] == 100


@pytest.mark.usefixtures("no_folder")
def test_one_cache_for_each_data_set(server, tmp_path, monkeypatch):
    """MNIST and Fashion-MNIST share their file names."""
    for dataset, first in (("mnist", 0), ("fashion_mnist", 5)):
        contents = packed_images(tmp_path / dataset, first)
        server.files |= {f"/{dataset}/{name}": body for name, body in contents.items()}
        publish(monkeypatch, dataset, contents, [f"{server.url}{dataset}/"])
    assert fnn.data.mnist().y_test.tolist() == [0, 1, 2]
    assert fnn.data.fashion_mnist().y_test.tolist() == [5, 6, 7]
    assert fnn.data.mnist().y_test.tolist() == [0, 1, 2]


TEXT = "Supposing that Truth is a woman, what then? à bientôt " * 400


def expect_part(load):
    with pytest.warns(UserWarning, match=r"has 21,600 characters, the published file 600,893\. Is it truncated"):
        return load()


@pytest.mark.usefixtures("no_folder")
@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (404, "404 Not Found"),
        (503, "503 Service Unavailable"),
        (TEXT.encode()[:-5], "damaged or different file; its checksum is not sha256:"),
        (b"<html>Log in</html>", "damaged or different file; its checksum is not sha256:"),
        (("cut", TEXT.encode()), "the connection broke before the end of the file"),
        ("hang", "no answer within 30 seconds"),
        ("nobody", "no connection"),
    ],
)
def test_mirrors_are_tried_in_order(broken, reason, server, tmp_path, monkeypatch):
    get = requests.get

    def impatient(url, *, timeout, **options):
        """Waits briefly where no answer comes, as long as ever where one does."""
        return get(url, timeout=0.1 if broken == "hang" and "broken" in url else timeout, **options)

    monkeypatch.setattr(requests, "get", impatient)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/"
    broken_base = nobody if broken == "nobody" else server.url + "broken/"
    good_base = server.url + "good/"
    server.files = {"/broken/nietzsche.txt": broken}
    publish(monkeypatch, "nietzsche", {"nietzsche.txt": TEXT.encode()}, [broken_base, good_base])

    with pytest.raises(fnn.data.DownloadError) as caught:
        fnn.data.nietzsche()
    message = str(caught.value)
    assert isinstance(caught.value, OSError)
    assert "nietzsche: nietzsche.txt is not on this machine and could not be downloaded" in message
    assert "FNN_DATA: not set" in message
    assert f"{broken_base}nietzsche.txt: " in message
    assert reason in message.split(f"{broken_base}nietzsche.txt")[1].splitlines()[0]
    assert f"{good_base}nietzsche.txt: 404 Not Found" in message
    assert "put nietzsche.txt into a folder and set FNN_DATA to its path, or pass folder=" in message
    assert files_in(tmp_path / "cache") == [], "nothing half-written stays"

    server.files["/good/nietzsche.txt"] = TEXT.encode()
    assert expect_part(fnn.data.nietzsche) == TEXT
    assert files_in(tmp_path / "cache") == ["nietzsche.txt"]
    asked = len(server.asked)
    assert expect_part(fnn.data.nietzsche) == TEXT
    assert len(server.asked) == asked


@pytest.mark.usefixtures("no_folder")
def test_a_damaged_file_in_the_cache_is_fetched_again(server, tmp_path, monkeypatch):
    server.files = {"/nietzsche.txt": TEXT.encode()}
    publish(monkeypatch, "nietzsche", {"nietzsche.txt": TEXT.encode()}, [server.url])
    kept = tmp_path / "cache" / "fnn" / "nietzsche" / "nietzsche.txt"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(TEXT.encode()[:1000])
    assert expect_part(fnn.data.nietzsche) == TEXT
    assert kept.read_bytes() == TEXT.encode()
    kept.write_bytes(b"")
    server.files = {}
    with pytest.raises(fnn.data.DownloadError, match="404 Not Found"):
        fnn.data.nietzsche()


def test_the_variable_takes_precedence_over_the_download(server, tmp_path, monkeypatch):
    server.files = {"/nietzsche.txt": TEXT.encode()}
    publish(monkeypatch, "nietzsche", {"nietzsche.txt": TEXT.encode()}, [server.url])
    (tmp_path / "own").mkdir()
    monkeypatch.setenv("FNN_DATA", str(tmp_path / "own"))
    assert expect_part(fnn.data.nietzsche) == TEXT
    own = TEXT.upper()
    (tmp_path / "own" / "nietzsche.txt").write_text(own, encoding="utf-8")
    assert expect_part(fnn.data.nietzsche) == own
    assert len(server.asked) == 1
    (tmp_path / "own" / "nietzsche.txt").unlink()
    server.files = {}
    (tmp_path / "cache" / "fnn" / "nietzsche" / "nietzsche.txt").unlink()
    with pytest.raises(fnn.data.DownloadError, match=r"FNN_DATA=.*own: no such file"):
        fnn.data.nietzsche()


@pytest.mark.usefixtures("no_folder")
def test_a_cache_that_cannot_be_written_to(server, tmp_path, monkeypatch):
    server.files = {"/nietzsche.txt": TEXT.encode()}
    publish(monkeypatch, "nietzsche", {"nietzsche.txt": TEXT.encode()}, [server.url, server.url])
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(fnn.data.DownloadError, match=r"cache.fnn.nietzsche: cannot be written to \(") as caught:
        fnn.data.nietzsche()
    assert str(caught.value).count("cannot be written to") == 1, "another mirror would not help"
    assert server.asked == []


def test_the_table_of_sources(monkeypatch):
    monkeypatch.undo()
    assert sorted(download.SOURCES) == ["california_housing", "fashion_mnist", "mnist", "nietzsche"]
    for files in download.SOURCES.values():
        for name, source in files.items():
            algorithm, digits = source.checksum.split(":")
            assert len(digits) == {"md5": 32, "sha256": 64}[algorithm]
            assert source.name == name
            assert all(url.startswith(("https://", "http://fashion-mnist.s3")) for url in source.urls)
    assert len({s.checksum for files in download.SOURCES.values() for s in files.values()}) == 10
    assert download.cache_folder() == pooch.os_cache("fnn")


@pytest.mark.skipif("FNN_DATA" not in os.environ, reason="FNN_DATA does not name the folder with real data")
def test_checksums_are_those_of_real_files(monkeypatch):
    monkeypatch.undo()
    root = download.environment_folder()
    names = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz", "train-labels-idx1-ubyte.gz")
    paths = {root / "mnist" / name: download.SOURCES["mnist"][name] for name in names}
    paths[root / "nietzsche.txt"] = download.SOURCES["nietzsche"]["nietzsche.txt"]
    for path, source in paths.items():
        algorithm, digits = source.checksum.split(":")
        assert hashlib.new(algorithm, path.read_bytes()).hexdigest() == digits, path


# ----------------------------------------------------------------------------------------------------------------- text
def test_nietzsche_files(tmp_path):
    path = tmp_path / "nietzsche.txt"
    with pytest.raises(fnn.InputError, match=r"nietzsche.txt in .*, got no such file"):
        fnn.data.nietzsche(tmp_path)
    path.write_bytes(b"\xff\xfe bad")
    with pytest.raises(fnn.InputError, match=r"nietzsche.txt: not UTF-8 text"):
        fnn.data.nietzsche(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(fnn.InputError, match=r"nietzsche.txt: expected a text, got an empty file"):
        fnn.data.nietzsche(tmp_path)
    path.write_bytes(TEXT.replace("bientôt ", "bientôt\r\n").encode())
    assert expect_part(lambda: fnn.data.nietzsche(tmp_path)) == TEXT.replace("bientôt ", "bientôt\n")


# -------------------------------------------------------------------------------------------------------------- housing
def housing_rows(count, rng):
    """Rows in the order of StatLib's file, with the number of its decimals."""
    low = np.array([-124.0, 32.0, 1.0, 100.0, 20.0, 50.0, 10.0, 0.5, 15000.0])
    high = np.array([-114.0, 42.0, 52.0, 9000.0, 900.0, 4000.0, 800.0, 15.0, 500001.0])
    return np.round(rng.uniform(low, high, (count, 9)), 6)


def housing_text(rows):
    return "".join(",".join(f"{v:.6f}" for v in row) + "\n" for row in rows)


def sklearn_housing(rows, folder):
    """What scikit-learn derives from the same rows, given in the order in which it caches them."""
    folder.mkdir()
    joblib.dump(rows[:, [8, 7, 2, 3, 4, 5, 6, 1, 0]], folder / "cal_housing_py3.pkz", compress=6)
    return sklearn.datasets.fetch_california_housing(data_home=folder, download_if_missing=False)


def archive(member, text):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        info = tarfile.TarInfo(member)
        info.size = len(text.encode())
        tar.addfile(info, io.BytesIO(text.encode()))
    return packed.getvalue()


def expect_few(load):
    with pytest.warns(UserWarning, match="has 12 rows, the published file 20,640"):
        return load()


def check_housing(data, rows, folder):
    reference = sklearn_housing(rows, folder)
    np.testing.assert_allclose(data.x, reference.data, 1e-6)
    np.testing.assert_allclose(data.y[:, 0], reference.target, 1e-6)
    assert data.x.dtype == data.y.dtype == np.float32
    assert data.y.shape == (len(rows), 1)
    assert list(data.features) == reference.feature_names
    assert data.classes == ()


@pytest.mark.parametrize("name", ["cal_housing.data", "CaliforniaHousing/cal_housing.data", "cal_housing.tgz"])
def test_housing_equals_sklearn(name, tmp_path, rng):
    rows = housing_rows(12, rng)
    path = tmp_path / "own" / name
    path.parent.mkdir(parents=True)
    text = housing_text(rows)
    path.write_bytes(archive("CaliforniaHousing/cal_housing.data", text) if name.endswith("tgz") else text.encode())
    check_housing(expect_few(lambda: fnn.data.california_housing(tmp_path / "own")), rows, tmp_path / "reference")


@pytest.mark.usefixtures("no_folder")
def test_housing_from_a_download(server, tmp_path, monkeypatch, rng):
    rows = housing_rows(12, rng)
    packed = archive("CaliforniaHousing/cal_housing.data", housing_text(rows))
    server.files = {"/cal_housing.tgz": packed}
    publish(monkeypatch, "california_housing", {"cal_housing.tgz": packed}, [server.url])
    for _ in range(2):
        data = expect_few(fnn.data.california_housing)
    check_housing(data, rows, tmp_path / "reference")
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda t: t.replace("\n", ",1.0\n", 1), "cal_housing.data, line 1: expected 9 cells, .* got 10 cells"),
        (lambda t: t[: t.rindex(",")], "line 12: expected 9 cells, one for each column, got 8 cells"),
        (lambda t: t[: t.rindex(",") + 1], "line 12, column 'medianHouseValue': expected a number, got nothing"),
        (lambda t: "a" + t, "line 1, column 'longitude': expected a number, got 'a-"),
        (lambda t: t.replace(".", "..", 1), "line 1, column 'longitude': expected a number, got '"),
        (lambda t: "nan" + t[t.index(",") :], "line 1, column 'longitude': expected a number, got 'nan'"),
        (lambda t: "", "cal_housing.data: expected at least one row, got none"),
        (lambda t: "1,2,3,4,5,6,0,8,9\n", "line 1, column 'households': expected a number above 0, got 0"),
    ],
)
def test_damaged_housing(change, match, tmp_path, rng):
    (tmp_path / "cal_housing.data").write_text(change(housing_text(housing_rows(12, rng))))
    with pytest.raises(fnn.InputError, match=match):
        fnn.data.california_housing(tmp_path)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda b: b[: len(b) // 2], "cal_housing.tgz: the archive is damaged or truncated"),
        (lambda b: b"PK" + b, "cal_housing.tgz: the archive is damaged or truncated"),
        (lambda b: b"", "cal_housing.tgz: the archive is damaged or truncated"),
        (lambda b: archive("readme", "nothing"), "an archive with cal_housing.data, got one without it"),
    ],
)
def test_damaged_archive(change, match, tmp_path, rng):
    packed = archive("CaliforniaHousing/cal_housing.data", housing_text(housing_rows(99, rng)))
    (tmp_path / "cal_housing.tgz").write_bytes(change(packed))
    with pytest.raises(fnn.InputError, match=match):
        fnn.data.california_housing(tmp_path)


# ------------------------------------------------------------------------------------------------------------- shipping
SHIPPING = """\
ID,Warehouse_block,Mode_of_Shipment,Customer_care_calls,Customer_rating,Cost_of_the_Product,Prior_purchases,\
Product_importance,Gender,Discount_offered,Weight_in_gms,Reached.on.Time_Y.N
1,D,Flight,4,2,177,3,low,F,44,1233,1
2,F,Ship,5,5,216,2,high,M,59,3088,1
3,A,Road,2,1,183,7,medium,M,48,3374,0
"""


def write_shipping(path, text=SHIPPING):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8-sig")  # with the mark that the published file has
    return path


@pytest.mark.parametrize("name", ["ecommerce_shipping.csv", "Train.csv"])
def test_shipping(name, tmp_path, monkeypatch):
    path = write_shipping(tmp_path / name)
    data = fnn.data.shipping(path)
    assert data.features == (
        *(f"Warehouse_block={c}" for c in "ABCDF"),
        *(f"Mode_of_Shipment={c}" for c in ("Flight", "Road", "Ship")),
        *("Customer_care_calls", "Customer_rating", "Cost_of_the_Product", "Prior_purchases"),
        *(f"Product_importance={c}" for c in ("high", "low", "medium")),
        *("Gender=M", "Discount_offered", "Weight_in_gms"),
    )
    assert data.x.tolist() == [
        [0, 0, 0, 1, 0, 1, 0, 0, 4, 2, 177, 3, 0, 1, 0, 0, 44, 1233],
        [0, 0, 0, 0, 1, 0, 0, 1, 5, 5, 216, 2, 1, 0, 0, 1, 59, 3088],
        [1, 0, 0, 0, 0, 0, 1, 0, 2, 1, 183, 7, 0, 0, 1, 1, 48, 3374],
    ]
    assert data.y.tolist() == [1, 1, 0]
    assert (data.x.dtype, data.y.dtype) == (np.float32, np.int32)
    assert [data.classes[i] for i in data.y] == ["not on time", "not on time", "on time"]
    monkeypatch.setenv("FNN_DATA", str(tmp_path))
    for given in (str(path), tmp_path, None):
        jax.tree.map(np.testing.assert_array_equal, fnn.data.shipping(given), data)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("Gender,", "", "csv, line 2: expected 11 cells, one for each column, got 12 cells"),
        ("Gender", "Sex", "csv: expected the column 'Gender', got only 'ID', 'Warehouse_block'"),
        ("ID,Warehouse_block,Mode", "ID,W,M", "csv: expected the columns 'Warehouse_block', 'Mode_of_Shipment', got"),
        ("Reached.on.Time_Y.N", "Late", "csv: expected the column 'Reached.on.Time_Y.N', got only"),
        ("Gender", "ID", "csv, line 1: expected a different name for each column, got 'ID' twice"),
        ("Gender", "", "csv, line 1: expected a different name for each column, got no name for column 9"),
        ("216", "", "csv, line 3, column 'Cost_of_the_Product': expected a number, got nothing"),
        ("216", "21O", "csv, line 3, column 'Cost_of_the_Product': expected a number, got '21O'"),
        ("216", "1_0", "csv, line 3, column 'Cost_of_the_Product': expected a number, got '1_0'"),
        ("216", "inf", "csv, line 3, column 'Cost_of_the_Product': expected a number, got 'inf'"),
        ("Road", "", "line 4, column 'Mode_of_Shipment': expected one of Flight, Road, Ship, got nothing"),
        ("Road", "Rail", "line 4, column 'Mode_of_Shipment': expected one of Flight, Road, Ship, got 'Rail'"),
        ("1233,1", "1233,2", "line 2, column 'Reached.on.Time_Y.N': expected one of 0, 1, got '2'"),
        ("1233,1", "1233,", "line 2, column 'Reached.on.Time_Y.N': expected one of 0, 1, got nothing"),
        ("1233,1", "1233", "csv, line 2: expected 12 cells, one for each column, got 11 cells"),
        ("1233,1", "1233,1,1", "csv, line 2: expected 12 cells, one for each column, got 13 cells"),
        ("low,F", '"low,F', r"csv, line 4: not a row of a CSV file \(unexpected end of data\)"),
    ],
)
def test_damaged_shipping(old, new, match, tmp_path):
    assert SHIPPING.count(old) == 1
    path = write_shipping(tmp_path / "ecommerce_shipping.csv", SHIPPING.replace(old, new))
    with pytest.raises(fnn.InputError, match=match):
        fnn.data.shipping(path)


def test_shipping_files(tmp_path, monkeypatch):
    with pytest.raises(fnn.InputError, match=r"a\.csv: no such file"):
        fnn.data.shipping(tmp_path / "a.csv")
    with pytest.raises(fnn.InputError, match=r"ecommerce_shipping.csv or Train.csv in .*, got no such file\.$"):
        fnn.data.shipping(tmp_path)
    for text, match in (("", "an empty file"), (SHIPPING.splitlines()[0], "at least one row, got none")):
        with pytest.raises(fnn.InputError, match=match):
            fnn.data.shipping(write_shipping(tmp_path / "empty.csv", text))
    (tmp_path / "wide.csv").write_text(SHIPPING, encoding="utf-16")
    with pytest.raises(fnn.InputError, match="not UTF-8 text"):
        fnn.data.shipping(tmp_path / "wide.csv")
    monkeypatch.setenv("FNN_DATA", str(tmp_path))
    for variable in ("FNN_DATA=.*: no such file", "FNN_DATA: not set"):
        with pytest.raises(fnn.data.DownloadError, match=variable) as caught:
            fnn.data.shipping()
        for part in ("requires a login", "E-Commerce Shipping Data", "Kaggle", "Train.csv", "pass its path"):
            assert part in str(caught.value)
        monkeypatch.delenv("FNN_DATA", raising=False)


# --------------------------------------------------------------------------------------------------- from scikit-learn
def test_digits_and_iris():
    digits, bunch = fnn.data.digits(), sklearn.datasets.load_digits()
    np.testing.assert_array_equal(digits.x[..., 0] * 16, bunch.images)
    np.testing.assert_array_equal(digits.y, bunch.target)
    assert (digits.x.shape, digits.x.dtype, digits.y.dtype) == ((1797, 8, 8, 1), np.float32, np.int32)
    assert (digits.features, digits.classes) == ((), tuple("0123456789"))
    iris, bunch = fnn.data.iris(), sklearn.datasets.load_iris()
    np.testing.assert_array_equal(iris.x, bunch.data.astype(np.float32))
    np.testing.assert_array_equal(iris.y, bunch.target)
    assert (iris.x.dtype, iris.y.dtype) == (np.float32, np.int32)
    assert list(iris.features) == bunch.feature_names
    assert iris.classes == ("setosa", "versicolor", "virginica")
    assert {type(name) for name in (*iris.classes, *iris.features, *digits.classes)} == {str}


@pytest.mark.parametrize("name", ["digits", "iris"])
def test_without_sklearn(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=rf"fnn.data.{name}\(\) needs scikit-learn: pip install scikit-learn"):
        getattr(fnn.data, name)()


# --------------------------------------------------------------------------------------------------------------- pytree
def test_names_are_static():
    data = fnn.data.Dataset(np.arange(6.0).reshape(3, 2), np.arange(3), ("a", "b"), ("c", "d", "e"))
    assert list(fnn.paths(data)) == ["x", "y"]
    doubled = jax.jit(lambda d: jax.tree.map(lambda a: a * 2, d))(data)
    assert isinstance(doubled, fnn.data.Dataset)
    np.testing.assert_array_equal(doubled.x, data.x * 2)
    np.testing.assert_array_equal(doubled.y, data.y * 2)
    assert doubled[2:] == data[2:]
    images = fnn.data.Images(*(np.full(2, i) for i in range(4)), ("a", "b"))
    assert list(fnn.paths(images)) == ["x_train", "y_train", "x_test", "y_test"]
    assert [a[0] for a in jax.tree.leaves(images)] == [0, 1, 2, 3]
    moved = jax.tree.map(lambda a: a + 1, images)
    assert ([int(a[0]) for a in moved[:4]], moved.classes) == ([1, 2, 3, 4], ("a", "b"))


# ----------------------------------------------------------------------------------------------------------- real files
@pytest.mark.skipif("FNN_DATA" not in os.environ, reason="FNN_DATA does not name the folder with real data")
def test_real_files(tmp_path):
    mnist = fnn.data.mnist()
    assert [a.shape for a in mnist[:4]] == [(60000, 28, 28), (60000,), (10000, 28, 28), (10000,)]
    assert np.bincount(mnist.y_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert len(fnn.data.nietzsche()) == 600893

    housing = fnn.data.california_housing()
    rows = np.loadtxt(download.environment_folder() / "cal_housing.data", delimiter=",")
    check_housing(housing, rows, tmp_path / "reference")
    assert (housing.x.shape, housing.y.shape) == ((20640, 8), (20640, 1))
    # Figures of scikit-learn's description of the data set: the first district, and the range of the target.
    np.testing.assert_allclose(housing.x[0], [8.3252, 41, 6.984127, 1.02381, 322, 2.555556, 37.88, -122.23], 1e-6)
    np.testing.assert_allclose([housing.y.min(), housing.y.max()], [0.14999, 5.00001], 1e-6)

    shipping = fnn.data.shipping()
    assert shipping.x.shape == (10999, 18)
    assert np.bincount(shipping.y).tolist() == [4436, 6563]
    assert shipping.x[:, :5].sum(0).tolist() == [1833, 1833, 1833, 1834, 3666]
    assert shipping.x[:, shipping.features.index("Gender=M")].sum() == 5454
