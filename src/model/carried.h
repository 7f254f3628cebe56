// The size of what a key carries: |W_O^h v_j|, the Euclidean length of what head h writes into the residual stream for
// a weight of one on key j. With the weight p_ij the contribution has the size p_ij |W_O^h v_j| (value-weighted
// attention).
#pragma once
#include <cstdint>
#include <vector>

#include "bareattn/model.h"

namespace bareattn::model {

/// Sizes [rows] from values [rows, D] of the key-value head that `head` reads, binary16. Made with W_O as the
/// projection uses it, through its Gram matrix: D^2 multiply-adds a row. Empty where the model holds no weights (that
/// of a trace).
std::vector<float> carried_sizes(const Model& model, int layer, int head, const std::vector<uint16_t>& values);

}  // namespace bareattn::model
