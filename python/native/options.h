// The keyword arguments of a Python call as AttentionParams, with everything they point to.
#pragma once
#include "arrays.h"
#include "bareattn/attention.h"

namespace bareattn::python {

class Options {
 public:
  /// `options`: parameters by name, absent or None: the default. `returns`: arrays to be filled, by name.
  Options(nb::dict options, nb::dict returns);
  Options(const Options&) = delete;
  Options& operator=(const Options&) = delete;
  AttentionParams params;

 private:
  void read_options(nb::dict options);
  void read_returns(nb::dict returns);

  Arrays arrays_;
  std::vector<float> slopes_, sinks_;
  std::vector<int64_t> cu_q_, cu_k_, lengths_, full_rows_;
  std::vector<AttentionStatistics> statistics_;
};

}  // namespace bareattn::python
