// The parts of a tokenizer.json around its model: what text is made before it is cut, how it is cut, and what stands
// around every text. Used by tokenizer_json.cc only.
#pragma once
#include "bareattn/tokenizer.h"
#include "text/json_node.h"

namespace bareattn::text {

/// What normalizer and pre_tokenizer say together.
struct TextParts {
  enum class Kind { byte_level, pieces, words } kind = Kind::byte_level;
  std::string pre;            // of byte_level
  bool compose = false;       // NFC
  bool space_prefix = false;  // of pieces
  bool lower_case = true;     // of words
};
TextParts read_text_parts(const JsonNode& root);

/// bos_id, eos_id, add_bos, add_eos of `spec`, from the post-processor.
void read_post_processor(const JsonNode& root, TokenizerSpec& spec);

/// Refuses decoders that are not known.
void check_decoder(const JsonNode& root);

}  // namespace bareattn::text
