// See output_watch.h.
#include "observe/output_watch.h"

#include <limits>

namespace bareattn::observing {

OutputWatch::OutputWatch(const Model& model, int64_t tokens, const MeasureGroups& groups)
    : model_(model),
      tokens_(tokens),
      values_(groups.values),
      agreement_(groups.agreement),
      layers_(static_cast<size_t>(model.config().layers)) {
  if (agreement_) model::check_head_pairs(model.config(), model.config().layers);
  const auto pairs = static_cast<size_t>(model.config().heads) * static_cast<size_t>(model.config().heads);
  for (Layer& layer : layers_)
    if (agreement_) layer.means.assign(pairs, std::numeric_limits<float>::quiet_NaN());
}

bool OutputWatch::wants(Point point) const {
  return (values_ && point == Point::v) || (agreement_ && point == Point::z);
}

std::vector<float> OutputWatch::carried(const Event& event) {
  Layer& layer = layers_[static_cast<size_t>(event.layer)];
  const int64_t rows = event.values.shape[0];
  if (layer.sizes == nullptr) layer.sizes = std::make_unique<model::CarriedSizes>(model_, event.layer);
  std::vector<float> sizes(static_cast<size_t>(model_.config().heads * rows));
  layer.sizes->of(event.values, sizes.data());
  if (event.first_row + rows == tokens_) layer.sizes.reset();
  return sizes;
}

void OutputWatch::add(const Event& event) {
  Layer& layer = layers_[static_cast<size_t>(event.layer)];
  if (layer.cosines == nullptr) layer.cosines = std::make_unique<model::OutputCosines>(model_, event.layer);
  layer.cosines->add(event.values, event.first_row == 0 ? 1 : 0);  // row 0 only ever sees itself
  if (event.first_row + event.values.shape[0] != tokens_) return;
  layer.means = layer.cosines->means();
  layer.cosines.reset();
}

}  // namespace bareattn::observing
