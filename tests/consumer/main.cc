// What a user of the installed library writes: reaches into every layer that needs linking (files, errors, tokenizer).
#include <bareattn/error.h>
#include <bareattn/model.h>

#include <cstdio>

int main() {
  try {
    bareattn::Model::load("no-such-file.gguf");
  } catch (const bareattn::FileError& error) {
    std::printf("bareattn found and linked: %s\n", error.what());
    return 0;
  }
  return 1;
}
