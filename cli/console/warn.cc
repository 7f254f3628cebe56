// See warn.h. Not by fmt::print, which throws where stderr is closed or full: work goes on all the same.
#include "console/warn.h"

#include <cstdio>
#include <string>

#include "bareattn/files.h"
#include "bareattn/threads.h"

namespace bareattn::cli {

void warn(std::string_view sentence) {
  const std::string line = "bareattn: warning: " + printable(sentence) + "\n";
  std::fputs(line.c_str(), stderr);
}

void warn_of_few_threads() {
  if (const std::string sentence = take_thread_shortage(); !sentence.empty()) warn(sentence);
}

}  // namespace bareattn::cli
