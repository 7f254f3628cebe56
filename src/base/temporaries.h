// Temporary files and folders, and what becomes of them when a process is ended before it could remove them. Each is
// locked (flock) as long as somebody works on it, so that whoever finds one that nobody locks may remove it: a later
// start does, in the folder where it writes. A process that ends itself within a signal handler removes its own.
#pragma once
#include <string>

namespace bareattn::base {

/// Takes note of a path that abandon_files() (signals.h) removes until it is let go: a file, or a folder with its
/// files. `descriptor`, where there is one, is held open for its lock. Where there is no room left for a note, a later
/// start will have to do.
void hold_temporary(const std::string& path, int descriptor = -1) noexcept;
void let_go_of_temporary(const std::string& path) noexcept;

/// Takes the lock that says "in use", until the descriptor and its copies are closed. False where what it describes was
/// taken for left behind and removed meanwhile: make another.
bool lock_temporary(int descriptor);

/// What a name says, for remove_left_behind.
enum class Left { files, folders };
/// `.bareattn-PID-NUMBER.tmp`, which AtomicFile gives; `bareattn-run-XXXXXX`, which TemporaryFolder gives.
bool is_temporary_name(const std::string& name, Left kind);

/// Removes what killed processes of this user have left in `folder`: regular files or folders with such names that
/// nobody locks. Looks into a folder once a process. Throws nothing: what cannot be removed stays.
void remove_left_behind(const std::string& folder, Left kind) noexcept;

/// Takes note that a file stands where it was wanted (files_are_in_place()), unless that is a temporary folder.
void note_in_place(const std::string& path);

/// Lives while files are put in place, so that a signal ends the process before or after, never between two files.
struct PuttingInPlace {
  PuttingInPlace();
  ~PuttingInPlace();
  PuttingInPlace(const PuttingInPlace&) = delete;
  PuttingInPlace& operator=(const PuttingInPlace&) = delete;
};

}  // namespace bareattn::base
