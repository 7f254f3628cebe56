// The heads of a model that tell most about a text, one line each: heads MODEL TEXT.
#include <bareattn/bareattn.h>

#include <cstdio>

int main(int argc, char** argv) try {
  if (argc != 3) throw bareattn::InputError("usage: heads MODEL TEXT");
  const auto model = bareattn::Model::load(argv[1]);
  const auto seen = bareattn::observe(model, model->tokenizer().encode(argv[2]));
  for (const bareattn::Highlight& found : bareattn::highlights(*seen)) {
    std::printf("layer %d head %d %s\n", found.head.layer, found.head.head, found.evidence.c_str());
  }
} catch (const bareattn::InputError& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 2;
}
