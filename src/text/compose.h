// Unicode's composed form (NFC) of a text: a letter and its accent become one character where there is one. Some models
// were trained on texts made so. Invalid UTF-8 stays as it is.
#pragma once
#include <string>
#include <string_view>

namespace bareattn::text {

/// True where the text is surely in composed form already (all of it before U+0300).
bool is_composed(std::string_view text);

std::string compose(std::string_view text);

}  // namespace bareattn::text
