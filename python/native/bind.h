// What module.cc gathers.
#pragma once
#include <nanobind/nanobind.h>

namespace bareattn::python {

void bind_backward(nanobind::module_& module);
void bind_heads(nanobind::module_& module);
void bind_model(nanobind::module_& module);
void bind_observation(nanobind::module_& module);  // before those whose runs it describes
void bind_runs(nanobind::module_& module);
void bind_trace(nanobind::module_& module);

}  // namespace bareattn::python
