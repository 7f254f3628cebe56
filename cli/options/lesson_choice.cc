// See lesson_choice.h.
#include "options/lesson_choice.h"

#include <fmt/format.h>

#include <cstdio>

#include "bareattn/error.h"
#include "bareattn/files.h"

namespace bareattn::cli {

void LessonChoice::declare(CLI::App& command) {
  option_ = command.add_option("--lesson", sentence, "sentence of the page's tour, at most 16 tokens; '' for no tour")
                ->type_name("TEXT");
}

std::shared_ptr<const Lesson> LessonChoice::make(const std::shared_ptr<const Model>& model, int threads) const {
  if (sentence.empty()) return nullptr;
  try {
    return make_lesson(model, sentence, threads);
  } catch (const InputError& error) {
    if (option_ == nullptr || option_->count() == 0) {  // nobody asked for this sentence
      fmt::print(stderr, "bareattn: warning: the page has no tour: {} (--lesson gives another sentence)\n",
                 printable(error.what()));
      return nullptr;
    }
    throw InputError(std::string("--lesson: ") + error.what());
  }
}

}  // namespace bareattn::cli
