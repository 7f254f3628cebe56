// The keyword arguments of a Python call as AttentionParams, with everything they point to.
#pragma once
#include <string_view>
#include <utility>
#include <vector>

#include "arrays.h"
#include "bareattn/attention.h"

namespace bareattn::python {

/// A dict whose names are looked up without making a Python string for each: there are thirty, and most calls give two.
class Named {
 public:
  explicit Named(nb::dict dict);
  bool empty() const { return items_.empty(); }
  nb::object operator[](std::string_view name) const;  // None: absent

 private:
  nb::dict dict_;  // keeps the names alive
  std::vector<std::pair<std::string_view, nb::handle>> items_;
};

class Options {
 public:
  /// `options`: parameters by name, absent or None: the default. `returns`: arrays to be filled, by name.
  Options(nb::dict options, nb::dict returns);
  Options(const Options&) = delete;
  Options& operator=(const Options&) = delete;
  AttentionParams params;

 private:
  void read_options(const Named& options);
  void read_returns(const Named& returns);

  Arrays arrays_;
  std::vector<float> slopes_, sinks_;
  std::vector<int64_t> cu_q_, cu_k_, lengths_, full_rows_;
  std::vector<AttentionStatistics> statistics_;
};

}  // namespace bareattn::python
