// What was given as a text and may not be meant as one: the name of a file that is not there, a model or a trace, a
// compressed file, another encoding than UTF-8. Models and traces are refused, the rest is warned of and run as it is;
// a byte order mark is taken off, for it would become the first token, where heads rest.
#pragma once
#include <string>
#include <string_view>

namespace bareattn::cli {

/// Whether one word, given where a text may stand, reads like the name of a file.
bool looks_like_a_path(std::string_view word);

/// InputError where the first bytes of what is to be a text are those of a model or a trace; a few of them do.
void refuse_model_or_trace(std::string_view start, const std::string& name);

/// The same for the whole text. Takes off a byte order mark of UTF-8. Returns what is to be warned
/// of, empty where there is nothing. `origin` names the text in the sentences, "story.txt".
std::string check_form(std::string& text, const std::string& origin);

}  // namespace bareattn::cli
