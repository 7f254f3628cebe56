// The instructions of the steering measurement: seven that a rule can check, each before four questions. A rule looks
// at the answer alone. See steering_effects.cc.
#pragma once
#include <cctype>
#include <string>
#include <vector>

namespace steering_tasks {

struct Task {
  const char* instruction;
  bool (*followed)(const std::string& answer);
};

inline std::string trimmed(const std::string& text) {
  const size_t begin = text.find_first_not_of(" \n\t"), end = text.find_last_not_of(" \n\t");
  return begin == std::string::npos ? "" : text.substr(begin, end - begin + 1);
}
inline bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

/// More than four of five letters are capitals, of at least three letters.
inline bool in_capitals(const std::string& text) {
  int upper = 0, letters = 0;
  for (const char c : text) {
    letters += std::isalpha(static_cast<unsigned char>(c)) != 0 ? 1 : 0;
    upper += std::isupper(static_cast<unsigned char>(c)) != 0 ? 1 : 0;
  }
  return letters >= 3 && 5 * upper > 4 * letters;
}

inline const std::vector<Task>& tasks() {
  static const std::vector<Task> all = {
      {"Write only in capital letters.", in_capitals},
      {"Begin your answer with the word Banana.",
       [](const std::string& t) { return trimmed(t).rfind("Banana", 0) == 0; }},
      {"Answer with a numbered list.", [](const std::string& t) { return contains(t, "1.") || contains(t, "1)"); }},
      {"Mention the word ocean.", [](const std::string& t) { return contains(t, "ocean") || contains(t, "Ocean"); }},
      {"Answer with a question.", [](const std::string& t) { return contains(t, "?"); }},
      {"Answer in one word.",
       [](const std::string& t) {
         return !trimmed(t).empty() && trimmed(t).find_first_of(" \n\t") == std::string::npos;
       }},
      {"Put your answer in double quotes.", [](const std::string& t) { return trimmed(t).rfind('"', 0) == 0; }},
  };
  return all;
}

/// A question, and a word that an answer to it has.
struct Question {
  const char* text;
  const char* about;
};
inline const std::vector<Question>& questions() {
  static const std::vector<Question> all = {{"What is rain?", "rain"},
                                            {"Why do people sleep?", "sleep"},
                                            {"What is a library for?", "librar"},
                                            {"How does a bicycle stay up?", "bicycle"}};
  return all;
}
inline bool is_about(const Question& question, std::string answer) {
  for (char& c : answer) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return contains(answer, question.about);
}

}  // namespace steering_tasks
