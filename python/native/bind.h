// What module.cc gathers, and how other Python threads go on while C++ works.
#pragma once
#include <nanobind/nanobind.h>

#include <optional>

namespace bareattn::python {

/// The GIL is free as long as this lives. Afterwards a RuntimeWarning says where the system gave fewer threads than
/// were asked for.
class Released {
 public:
  Released() : free_(std::in_place) {}
  ~Released();
  Released(const Released&) = delete;
  Released& operator=(const Released&) = delete;

 private:
  std::optional<nanobind::gil_scoped_release> free_;
};

void bind_backward(nanobind::module_& module);
void bind_heads(nanobind::module_& module);
void bind_model(nanobind::module_& module);
void bind_observation(nanobind::module_& module);  // before those whose runs it describes
void bind_runs(nanobind::module_& module);
void bind_trace(nanobind::module_& module);

}  // namespace bareattn::python
