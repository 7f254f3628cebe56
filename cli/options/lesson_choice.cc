// See lesson_choice.h.
#include "options/lesson_choice.h"

#include "bareattn/error.h"

namespace bareattn::cli {

void LessonChoice::declare(CLI::App& command) {
  command.add_option("--lesson", sentence, "sentence of the page's tour, at most 16 tokens; '' for no tour")
      ->type_name("TEXT");
}

std::shared_ptr<const Lesson> LessonChoice::make(const std::shared_ptr<const Model>& model, int threads) const {
  if (sentence.empty()) return nullptr;
  try {
    return make_lesson(model, sentence, threads);
  } catch (const InputError& error) {
    throw InputError(std::string("--lesson: ") + error.what());
  }
}

}  // namespace bareattn::cli
