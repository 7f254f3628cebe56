// Reading maps and writing whole files: what is refused, by which sentence, and that nothing half-written is left.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>

#include "bareattn/error.h"
#include "bareattn/signals.h"
#include "base/atomic_file.h"
#include "base/mapped_file.h"
#include "base/sha256.h"
#include "base/temporaries.h"
#include "base/temporary_folder.h"

namespace fs = std::filesystem;
using bareattn::FileError;
using bareattn::OutputError;
using namespace bareattn::base;

namespace {

class Files : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "bareattn-file-test-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
  }
  void TearDown() override { fs::remove_all(dir_); }

  std::string path(const std::string& name) const { return (dir_ / name).string(); }
  std::string make(const std::string& name, const std::string& content) const {
    std::ofstream(path(name), std::ios::binary) << content;
    return path(name);
  }
  static std::string content(const std::string& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  size_t entries() const { return static_cast<size_t>(std::distance(fs::directory_iterator(dir_), {})); }

  fs::path dir_;
};

template <class Error, class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "(no error)";
}
#define EXPECT_CONTAINS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST_F(Files, MapsWhatIsThere) {
  const MappedFile file(make("a", std::string("x\0y", 3)));
  EXPECT_EQ(file.text(), std::string_view("x\0y", 3));
  EXPECT_EQ(file.size(), 3);
  std::array<std::byte, 2> tail{};
  file.read_at(1, tail);
  EXPECT_EQ(tail[1], std::byte{'y'});
}

TEST_F(Files, EmptyFileIsFine) {
  const MappedFile file(make("empty", ""));
  EXPECT_EQ(file.size(), 0);
  EXPECT_TRUE(file.bytes().empty());
  EXPECT_NO_THROW(file.check_unchanged());
  EXPECT_NO_THROW(file.forget(0, 100));
}

TEST_F(Files, RefusesWhatIsNoRegularFile) {
  ASSERT_EQ(mkfifo(path("fifo").c_str(), 0600), 0);
  const auto reading = [](const std::string& name) { return error_of<FileError>([&] { MappedFile file(name); }); };
  EXPECT_EQ(reading(dir_.string()), dir_.string() + ": is a directory; a file is needed");
  EXPECT_EQ(reading(path("fifo")), path("fifo") + ": is a FIFO; a file is needed");  // and does not wait for a writer
  EXPECT_EQ(reading("/dev/zero"), "/dev/zero: is a device; a file is needed");
  EXPECT_CONTAINS(reading(path("absent")), "No such file");
  EXPECT_CONTAINS(reading(""), "empty");
  EXPECT_CONTAINS(reading(std::string("a\0b", 3)), "NUL");
}

TEST_F(Files, ReplacedByAnotherFileStaysTheFirst) {
  const MappedFile file(make("a", "first"));
  make("b", "the second, longer");
  fs::rename(path("b"), path("a"));
  EXPECT_EQ(file.text(), "first");
  std::array<std::byte, 5> copy{};
  EXPECT_NO_THROW(file.read_at(0, copy));
}

TEST_F(Files, TruncatedOrRewrittenInPlaceIsAnErrorNotASignal) {
  const std::string name = make("a", std::string(10000, 'a'));
  const MappedFile file(name);
  fs::resize_file(name, 100);
  std::vector<std::byte> all(10000);
  EXPECT_CONTAINS(error_of<FileError>([&] { file.read_at(0, all); }), "shorter");
  EXPECT_CONTAINS(error_of<FileError>([&] { file.check_unchanged(); }), "had 10000 bytes, now it has 100");
  EXPECT_CONTAINS(error_of<FileError>([&] { file.read_at(9000, std::span(all).first(2000)); }), "offset 9000");

  const std::string other = make("b", "same size");
  const MappedFile watched(other);
  const timespec times[2] = {{1, 0}, {1, 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, other.c_str(), times, 0), 0);
  EXPECT_CONTAINS(error_of<FileError>([&] { watched.check_unchanged(); }), "written to");
}

/// Resident pages of this process that come from files (kB).
int64_t resident_file_kb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("RssFile:", 0) == 0) return std::stoll(line.substr(8));
  }
  return -1;
}

TEST_F(Files, APageThatIsGoneIsAnErrorNotASignal) {
  const std::string a = make("a", std::string(5 * 4096, 'x')), b = make("b", std::string(4096, 'y'));
  const MappedFile cut(a), other(b);
  fs::resize_file(a, 4096);
  size_t read = 0;
  for (const std::byte c : cut.bytes()) read += c == std::byte{'x'} ? 1 : 0;
  EXPECT_EQ(read, 4096) << "what is gone is zeros";
  EXPECT_THROW(cut.check_unchanged(), FileError);
  EXPECT_NO_THROW(other.check_unchanged());
  const MappedFile again(a);  // in the place of no other
  EXPECT_NO_THROW(again.check_unchanged());
}

TEST_F(Files, ALostPageOfSomebodyElseIsNotOurs) {
  const std::string a = make("a", std::string(3 * 4096, 'x'));
  const MappedFile ours(a);
  const auto touch = [&] {
    const int fd = open(a.c_str(), O_RDONLY);
    const auto* theirs = static_cast<volatile char*>(mmap(nullptr, 3 * 4096, PROT_READ, MAP_PRIVATE, fd, 0));
    fs::resize_file(a, 0);
    static_cast<void>(theirs[4096]);
  };
  const auto died = [](int status) { return !WIFEXITED(status) || WEXITSTATUS(status) != 0; };
  EXPECT_EXIT(touch(), died, "");
}

TEST_F(Files, WhatIsLeftBehindIsKnownByItsName) {
  for (const char* name : {".bareattn-1-0.tmp", ".bareattn-99999-12.tmp"})
    EXPECT_TRUE(is_temporary_name(name, Left::files));
  for (const char* name :
       {".bareattn-.tmp", ".bareattn-1.tmp", ".bareattn-1-.tmp", ".bareattn--1.tmp", ".bareattn-1-2-3.tmp",
        ".bareattn-a-1.tmp", "bareattn-1-0.tmp", ".bareattn-1-0.tmp~", ".bareattn-tmp", "", "."})
    EXPECT_FALSE(is_temporary_name(name, Left::files)) << name;
  EXPECT_TRUE(is_temporary_name("bareattn-run-aB3xYz", Left::folders));
  for (const char* name :
       {"bareattn-run-", "bareattn-run-aB3xY", "bareattn-run-aB3x/z", "bareattn-run-aB3xYzz", "bareattn-cache-aB3xYz"})
    EXPECT_FALSE(is_temporary_name(name, Left::folders)) << name;
}

TEST_F(Files, LeftFoldersGoAndThoseInUseStay) {
  const std::string before = std::getenv("TMPDIR") == nullptr ? "" : std::getenv("TMPDIR");
  setenv("TMPDIR", dir_.c_str(), 1);
  fs::create_directory(path("bareattn-run-aaaaaa"));
  make("bareattn-run-aaaaaa/run.safetensors", "left");
  fs::create_directory(path("bareattn-run-bbbbbb"));
  const int used = open(path("bareattn-run-bbbbbb").c_str(), O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(lock_temporary(used));
  fs::create_directory_symlink(path("bareattn-run-bbbbbb"), path("bareattn-run-cccccc"));
  make("bareattn-run-dddddd", "a file");
  {
    const TemporaryFolder own;
    EXPECT_TRUE(fs::exists(own.path()));
    EXPECT_FALSE(fs::exists(path("bareattn-run-aaaaaa")));
    for (const char* name : {"bareattn-run-bbbbbb", "bareattn-run-cccccc", "bareattn-run-dddddd"})
      EXPECT_TRUE(fs::exists(path(name))) << name;
  }
  close(used);
  before.empty() ? unsetenv("TMPDIR") : setenv("TMPDIR", before.c_str(), 1);
}

TEST_F(Files, AHandlerThatEndsTheProcessTakesItsFilesAway) {
  const auto body = [&] {
    AtomicFile file(path("page"));
    file.write(std::string("half"));
    const TemporaryFolder folder;
    write_file(folder.file("run"), "scratch");
    if (bareattn::files_are_in_place()) _exit(3);
    make("folder", folder.path());
    {
      const PuttingInPlace now;
      if (bareattn::abandon_files()) _exit(4);
    }
    _exit(bareattn::abandon_files() ? 0 : 5);
  };
  EXPECT_EXIT(body(), testing::ExitedWithCode(0), "");
  const std::string folder = content(path("folder"));
  EXPECT_FALSE(folder.empty());
  EXPECT_FALSE(fs::exists(folder));
  EXPECT_EQ(std::distance(fs::directory_iterator(dir_), {}), 1);
}

TEST_F(Files, ForgetGivesMemoryBack) {
  constexpr size_t size = 32 << 20;
  const MappedFile file(make("big", std::string(size, 'q')));
  size_t sum = 0;
  for (size_t i = 0; i < size; i += 4096) sum += static_cast<size_t>(file.bytes()[i]);
  ASSERT_EQ(sum, size / 4096 * 'q');
  const int64_t before = resident_file_kb();
  ASSERT_GT(before, 30 * 1024) << "the map never became resident: this test shows nothing";
  file.forget(0, size);
  EXPECT_LT(resident_file_kb(), before - 30 * 1024);
  EXPECT_EQ(file.text()[size - 1], 'q');  // still readable
}

TEST_F(Files, WritesWhole) {
  AtomicFile file(path("out"));
  file.write("one ");
  EXPECT_FALSE(fs::exists(path("out")));
  file.write(std::string(3 << 20, 'x'));
  file.write(" end");
  EXPECT_EQ(file.position(), 4 + (3 << 20) + 4);
  file.write_at(0, std::as_bytes(std::span("TWO", 3)));
  file.commit();
  EXPECT_EQ(content(path("out")), "TWO " + std::string(3 << 20, 'x') + " end");
  EXPECT_EQ(entries(), 1);
}

TEST_F(Files, WithoutCommitTheTargetIsAsItWas) {
  make("out", "before");
  { AtomicFile(path("out")).write("half"); }
  EXPECT_EQ(content(path("out")), "before");
  EXPECT_EQ(entries(), 1);
}

// The second cannot be put in place: a folder has taken its name since. The first is as it was, whether it was there or
// not.
TEST_F(Files, OfSeveralFilesAllAreNewOrNone) {
  for (const bool was_there : {true, false}) {
    const std::string first = path("first"), second = path("second");
    if (was_there) make("first", "old");
    {
      std::deque<AtomicFile> files;
      files.emplace_back(first).write("new");
      files.emplace_back(second).write("new");
      fs::create_directory(second);
      EXPECT_CONTAINS(error_of<OutputError>([&] { commit_all(files); }), "second: cannot be put in place");
    }
    EXPECT_EQ(fs::exists(first), was_there);
    if (was_there) {
      EXPECT_EQ(content(first), "old");
    }
    EXPECT_EQ(entries(), was_there ? 2u : 1u) << "a temporary file is left";
    fs::remove(second);
    std::deque<AtomicFile> files;
    files.emplace_back(first).write("new");
    files.emplace_back(second).write("new");
    commit_all(files);
    EXPECT_EQ(content(first) + content(second), "newnew");
    files.clear();
    EXPECT_EQ(entries(), 2u);
    fs::remove(first);
    fs::remove(second);
  }
}

TEST_F(Files, KeepsPermissionsAndFollowsLinks) {
  make("real", "before");
  fs::permissions(path("real"), fs::perms(0640));
  fs::create_symlink("real", path("link"));
  write_file(path("link"), "after");
  EXPECT_TRUE(fs::is_symlink(path("link")));
  EXPECT_EQ(content(path("real")), "after");
  EXPECT_EQ(fs::status(path("real")).permissions(), fs::perms(0640));

  const mode_t mask = umask(027);
  write_file(path("new"), "");
  umask(mask);
  EXPECT_EQ(fs::status(path("new")).permissions(), fs::perms(0640));
}

TEST_F(Files, RefusesOutputsBeforeTheWork) {
  ASSERT_EQ(mkfifo(path("fifo").c_str(), 0600), 0);
  fs::create_symlink("nowhere", path("dangling"));
  const auto trying = [](const std::string& name) { return error_of<OutputError>([&] { check_writable(name); }); };
  EXPECT_CONTAINS(trying(dir_.string()), "is a directory");
  EXPECT_CONTAINS(trying(path("absent/")), "name of a directory");
  EXPECT_CONTAINS(trying(path("no/such/out")), "does not exist");
  EXPECT_CONTAINS(trying(path("fifo")), "FIFO");
  EXPECT_CONTAINS(trying("/dev/null"), "device");
  EXPECT_CONTAINS(trying(path("dangling")), "leads nowhere");
  EXPECT_CONTAINS(trying(make("file", "") + "/out"), "Not a directory");
  EXPECT_CONTAINS(trying("/proc/bareattn-out"), "/proc/bareattn-out");
  EXPECT_CONTAINS(trying(path(std::string(300, 'n'))), "too long");
  EXPECT_CONTAINS(trying(""), "empty");
  EXPECT_NO_THROW(check_writable(path("fine")));
  EXPECT_FALSE(fs::exists(path("fine")));
  EXPECT_EQ(entries(), 3);  // fifo, dangling, file: no temporary file is left
}

TEST_F(Files, ReadOnlyPlacesAreRefused) {
  make("file", "x");
  make("own", "x");
  fs::permissions(path("file"), fs::perms(0400));
  fs::permissions(dir_, fs::perms(0500));
  // Root may write anywhere, so as root the attempt is made as somebody else, who owns these files.
  const bool root = geteuid() == 0;
  constexpr uid_t nobody = 65534;
  if (root) {
    for (const std::string& name : {path("file"), path("own"), dir_.string()}) {
      ASSERT_EQ(chown(name.c_str(), nobody, gid_t(-1)), 0);
    }
    ASSERT_EQ(seteuid(nobody), 0);
  }
  const auto trying = [](const std::string& name) { return error_of<OutputError>([&] { check_writable(name); }); };
  const std::string read_only = trying(path("file")), new_name = trying(path("new")), beside = trying(path("own"));
  ASSERT_EQ(root ? seteuid(0) : 0, 0);
  fs::permissions(dir_, fs::perms(0700));
  EXPECT_CONTAINS(read_only, "Permission denied");
  EXPECT_CONTAINS(new_name, "Permission denied");
  EXPECT_CONTAINS(beside, "Permission denied");  // the file may be written, but not replaced
}

TEST_F(Files, AFullDiskLeavesNothing) {
  make("out", "before");
  rlimit old{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  const rlimit tight{1 << 20, old.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &tight), 0);
  const std::string error = error_of<OutputError>([&] { write_file(path("out"), std::string(5 << 20, 'x')); });
  setrlimit(RLIMIT_FSIZE, &old);
  signal(SIGXFSZ, handler);
  EXPECT_CONTAINS(error, "nothing was changed");
  EXPECT_EQ(content(path("out")), "before");
  EXPECT_EQ(entries(), 1);
}

TEST_F(Files, Sha256) {
  // FIPS 180-4 examples.
  EXPECT_EQ(sha256(std::string_view()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  const std::string million(1'000'000, 'a');
  EXPECT_EQ(sha256(million), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  EXPECT_EQ(sha256(MappedFile(make("m", million + million))), sha256(million + million));  // more than one piece
}

}  // namespace
