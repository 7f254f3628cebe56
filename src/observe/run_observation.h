// The Observation that a Recorder leaves. Means are made once, here; rows on request.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "observe/recorder.h"
#include "observe/roles.h"

namespace bareattn::observing {

struct RunFacts {
  std::vector<int32_t> tokens;
  std::vector<std::string> texts;
  double seconds = 0;
  int threads = 1;
};

/// `recorder` has seen the whole run and is finish()ed.
std::unique_ptr<Observation> make_observation(std::shared_ptr<const Model> model, RunFacts facts,
                                              std::unique_ptr<Recorder> recorder);

}  // namespace bareattn::observing
