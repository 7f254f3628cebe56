// What several bindings need: vectors as NumPy arrays, measures by name, steering, and Ctrl-C while C++ runs.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "bareattn/observation.h"

namespace bareattn::python {

/// A NumPy array that owns the vector.
template <class T>
nanobind::ndarray<nanobind::numpy, T> array_of(std::vector<T> values, std::initializer_list<size_t> shape) {
  auto* kept = new std::vector<T>(std::move(values));
  const nanobind::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
  return nanobind::ndarray<nanobind::numpy, T>(kept->data(), shape.size(), shape.begin(), owner);
}
template <class T>
nanobind::ndarray<nanobind::numpy, T> array_of(std::vector<T> values) {
  const size_t count = values.size();
  return array_of(std::move(values), {count});
}

/// std::invalid_argument that lists the measures where there is no such one.
Measure measure_of(const std::string& name);

/// Name, file, layers, ...
nanobind::dict model_facts(const Model& model);

/// The table of a steering file's text for a run of so many tokens; null for no text.
std::shared_ptr<const ScoreTable> table_of(const std::string& steering, const Model& model, size_t tokens);

/// Stops the run where the user pressed Ctrl-C; Cancelled then becomes KeyboardInterrupt.
Progress interruptible();
/// The same for what has no Progress: an Interruption (interrupt.h) that looks every 20 ms.
std::function<void()> signals_looked_at();

}  // namespace bareattn::python
