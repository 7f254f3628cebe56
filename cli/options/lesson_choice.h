// --lesson: the sentence of the page's tour, the same in `look`, `page` and `serve`.
#pragma once
#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "bareattn/lesson.h"

namespace bareattn::cli {

struct LessonChoice {
  std::string sentence = Lesson::sentence;

  void declare(CLI::App& command);
  /// Null where no tour is wanted, or the sentence is too short for one.
  /// The sentence that nobody asked for may be one that this model cannot take: a warning, and no tour.
  std::shared_ptr<const Lesson> make(const std::shared_ptr<const Model>& model, int threads) const;

 private:
  CLI::Option* option_ = nullptr;
};

}  // namespace bareattn::cli
