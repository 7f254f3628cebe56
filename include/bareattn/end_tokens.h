// After which tokens nothing more is generated: those that the model file names (end of text, of a turn, of a message;
// the padding, repository and file marks of code models), and the control tokens that go by a usual name for one of
// these. The names are those by which llama.cpp knows them (docs/models.md has the list); unlike there, a token counts
// by its name only where the vocabulary calls it a control or user-defined token, so that a plain word "</s>" ends
// nothing.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "bareattn/model.h"

namespace bareattn {

/// In ascending order, none twice. `named`: what the file names beside spec.eos_id; ids outside the vocabulary are
/// none.
std::vector<int32_t> end_tokens(const TokenizerSpec& spec, std::span<const int32_t> named);
/// Of a loaded model, as its file names them.
std::vector<int32_t> end_tokens(const Model& model);
bool ends_generation(const Model& model, int32_t id);

}  // namespace bareattn
