// What the values and blends of a run say about the heads' outputs, layer by layer while it runs: the size of what each
// key carries (group `values`) and how far the outputs of a layer's heads point the same way (group `agreement`). Made
// for a layer when its first row comes, let go when its last has come. Layers may come from different threads; one
// layer comes from one thread at a time, rows in order. The model must outlive it. Arithmetic: model/head_outputs.h.
#pragma once
#include <memory>
#include <vector>

#include "bareattn/observation.h"
#include "bareattn/points.h"
#include "model/head_outputs.h"

namespace bareattn::observing {

class OutputWatch {
 public:
  OutputWatch(const Model& model, int64_t tokens, const MeasureGroups& groups);
  bool wants(Point point) const;  // v or z, by group
  /// Sizes [Hq, rows] of what the keys of this event (Point::v) carry.
  std::vector<float> carried(const Event& event);
  /// Takes in the blends of Point::z.
  void add(const Event& event);
  /// [Hq, Hq] after the layer's last row; NaN off the diagonal before.
  const std::vector<float>& cosines(int layer) const { return layers_[static_cast<size_t>(layer)].means; }

 private:
  struct Layer {
    std::unique_ptr<model::CarriedSizes> sizes;
    std::unique_ptr<model::OutputCosines> cosines;
    std::vector<float> means;
  };
  const Model& model_;
  int64_t tokens_;
  bool values_, agreement_;
  std::vector<Layer> layers_;
};

}  // namespace bareattn::observing
