// Chat templates. A model file stores its template as a Jinja program; there is no Jinja here. Instead the program is
// compared with the forms that are known (chatml, with or without a default system message), and anything else is
// refused with what it looks like, so that a chat is never built in a shape the model was not trained on.
// Where to go next: chat_template.cc has the known forms as text; to add one, add it there.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "bareattn/tokenizer.h"

namespace bareattn::text {

struct ChatmlForm {
  std::optional<std::string> default_system;  // put first when the first message is not the system's
};

/// InputError when `jinja` is not a known form (or empty).
ChatmlForm recognise_chat_template(std::string_view jinja);

std::string apply_chatml(const ChatmlForm& form, std::span<const ChatMessage> messages, bool add_generation_prompt);

}  // namespace bareattn::text
