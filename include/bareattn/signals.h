// For programs that a signal ends at once: what a handler may ask of the library, so that nothing half-written is left.
// Both allocate nothing and take no lock. What a process leaves that is killed, a later one removes (files.h).
#pragma once

namespace bareattn {

/// Removes the temporary files of this process; from then on it puts no file in place. False, with nothing done, while
/// files are being put in place: ask again soon.
bool abandon_files() noexcept;

/// Whether this process has put a file in place, scratch files aside.
bool files_are_in_place() noexcept;

}  // namespace bareattn
