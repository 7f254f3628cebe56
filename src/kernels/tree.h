// The one tree in which 16 lane sums become one number: part of the contract, shared by every kernel and the twin.
#pragma once
#include "kernels/kernels.h"

namespace bareattn::kernels {

inline float tree_sum(const float* lane) {
  float half[8];
  for (int i = 0; i < 8; ++i) half[i] = lane[i] + lane[i + 8];
  for (int i = 0; i < 4; ++i) half[i] += half[i + 4];
  return (half[0] + half[2]) + (half[1] + half[3]);
}

}  // namespace bareattn::kernels
