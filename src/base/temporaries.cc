// See temporaries.h. What a signal handler calls allocates nothing and takes no lock: paths are kept in a fixed table.
#include "base/temporaries.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <climits>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <set>

#include "bareattn/signals.h"

namespace bareattn {
namespace {

enum class Use { none, changing, kept };
struct Slot {
  std::atomic<Use> use{Use::none};
  int lock = -1;
  char path[PATH_MAX];
};
std::array<Slot, 256> slots;

// Twice the number of threads that put files in place, and one more once nothing may be put in place any more.
std::atomic<int> gate{0};
std::atomic<bool> in_place{false};

// What stands in a folder, and the folder; by the system's own call, for readdir() allocates.
void remove_folder(const char* path) {
  const int folder = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (folder < 0) return;
  alignas(dirent64) char entries[4096];
  for (long size = 0; (size = syscall(SYS_getdents64, folder, entries, sizeof entries)) > 0;) {
    for (long at = 0; at < size;) {
      const auto* entry = reinterpret_cast<const dirent64*>(entries + at);
      unlinkat(folder, entry->d_name, 0);  // refuses . and ..
      at += entry->d_reclen;
    }
  }
  close(folder);
  rmdir(path);
}

}  // namespace

namespace base {

void hold_temporary(const std::string& path, int descriptor) noexcept {
  if (path.size() >= PATH_MAX) return;
  for (Slot& slot : slots) {
    Use expected = Use::none;
    if (!slot.use.compare_exchange_strong(expected, Use::changing)) continue;
    std::memcpy(slot.path, path.c_str(), path.size() + 1);
    slot.lock = descriptor < 0 ? -1 : fcntl(descriptor, F_DUPFD_CLOEXEC, 3);
    slot.use = Use::kept;
    return;
  }
}

void let_go_of_temporary(const std::string& path) noexcept {
  for (Slot& slot : slots) {
    if (slot.use != Use::kept || path != slot.path) continue;
    if (slot.lock >= 0) close(slot.lock);
    slot.use = Use::none;
    return;
  }
}

bool lock_temporary(int descriptor) {
  // A file system without locks: nobody can take it for left behind either, for that asks for the lock as well.
  if (flock(descriptor, LOCK_EX | LOCK_NB) != 0) return errno != EWOULDBLOCK;
  struct stat status {};
  return fstat(descriptor, &status) == 0 && status.st_nlink != 0;
}

bool is_temporary_name(const std::string& name, Left kind) {
  const std::string_view letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  const auto all_of = [&](std::string_view text, std::string_view allowed) {
    return !text.empty() && text.find_first_not_of(allowed) == std::string_view::npos;
  };
  const std::string_view view = name;
  if (kind == Left::folders)
    return view.starts_with("bareattn-run-") && view.size() == 19 && all_of(view.substr(13), letters);
  if (!view.starts_with(".bareattn-") || !view.ends_with(".tmp")) return false;
  const std::string_view middle = view.substr(10, view.size() - 14);
  const size_t dash = middle.find('-');
  return dash != std::string_view::npos && all_of(middle.substr(0, dash), "0123456789") &&
         all_of(middle.substr(dash + 1), "0123456789");
}

namespace {

// Opened without following a link, and looked at through the descriptor alone.
void remove_if_left(int folder, const std::string& at, const char* name, Left kind) {
  const int flags = kind == Left::folders ? O_DIRECTORY : O_NONBLOCK;
  const int one = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | flags);
  if (one < 0) return;
  struct stat status {};
  const bool ours = fstat(one, &status) == 0 && status.st_uid == geteuid() &&
                    (kind == Left::folders ? S_ISDIR(status.st_mode) : S_ISREG(status.st_mode) && status.st_nlink == 1);
  if (ours && flock(one, LOCK_EX | LOCK_NB) == 0) {
    std::error_code ignored;
    if (kind == Left::files) {
      unlinkat(folder, name, 0);
    } else {
      std::filesystem::remove_all(std::filesystem::path(at) / name, ignored);
    }
  }
  close(one);
}

}  // namespace

void remove_left_behind(const std::string& folder, Left kind) noexcept {
  static std::mutex mutex;
  static std::set<std::pair<std::string, Left>> looked;
  try {
    {
      const std::lock_guard lock(mutex);
      if (!looked.emplace(folder, kind).second) return;
    }
    DIR* const all = opendir(folder.c_str());
    if (all == nullptr) return;
    while (const dirent* entry = readdir(all)) {
      try {
        if (is_temporary_name(entry->d_name, kind)) remove_if_left(dirfd(all), folder, entry->d_name, kind);
      } catch (const std::exception&) {
      }
    }
    closedir(all);
  } catch (const std::exception&) {  // no memory: another start will look
  }
}

PuttingInPlace::PuttingInPlace() {
  if ((gate.fetch_add(2) & 1) == 0) return;
  for (;;) pause();  // the process is being ended
}
PuttingInPlace::~PuttingInPlace() { gate.fetch_sub(2); }

void note_in_place(const std::string& path) {
  for (const Slot& slot : slots)
    if (slot.use == Use::kept && path.starts_with(slot.path) && path[std::strlen(slot.path)] == '/') return;
  in_place = true;
}

}  // namespace base

bool abandon_files() noexcept {
  int open = 0;
  if (!gate.compare_exchange_strong(open, 1) && open != 1) return false;
  for (const Slot& slot : slots)
    if (slot.use == Use::kept) unlink(slot.path);
  for (const Slot& slot : slots)
    if (slot.use == Use::kept) remove_folder(slot.path);
  return true;
}

bool files_are_in_place() noexcept { return in_place; }

}  // namespace bareattn
