// The sentences that passages and haystacks are made of where the user names no text: plain English on many things,
// none of which answers a needle's question. About 1,000 tokens. See recipes.h.
#include "roles/recipes.h"

namespace bareattn::observing {

const std::vector<std::string>& corpus_sentences() {
  static const std::vector<std::string> sentences{
      " The ferry crosses the bay every half hour until the last train has arrived.",
      " In autumn the farmers burn the dry leaves at the edge of their fields.",
      " Water boils at a lower temperature on a mountain than at the sea.",
      " She folded the letter twice and put it under the clock.",
      " A good carpenter measures the board twice before he cuts it.",
      " The bridge was built of stone because the old wooden one had rotted away.",
      " Nobody in the village could remember a winter with so little snow.",
      " Copper carries heat much better than glass or wood.",
      " The children counted the ships and gave a name to each of them.",
      " When the bell rang, the whole class ran out into the yard.",
      " Most of the bread was sold before eight o'clock in the morning.",
      " He had learned to play the violin from his grandmother.",
      " The map showed a road that had never been finished.",
      " Bees find their way home by the light of the sky.",
      " After the storm the beach was covered with shells and broken branches.",
      " The doctor asked him to breathe slowly and to look at the wall.",
      " An old cat slept on the warm stones beside the well.",
      " The committee met on Tuesday, but it could not agree on a date.",
      " Rice is planted in flooded fields and harvested when they are dry.",
      " Her brother repaired radios in a small shop near the station.",
      " The moon was so bright that we could read the signs along the path.",
      " Prices rose by three percent last year, and wages by two.",
      " The recipe needs four eggs, a cup of sugar and a little salt.",
      " From the tower you can see both the river and the hills behind it.",
      " Salt dissolves in water, and the water becomes heavier.",
      " The actor forgot his lines and made up better ones.",
      " Every spring the swallows return to the same barn.",
      " They painted the kitchen blue and the hall a pale green.",
      " The engineer explained why the tunnel had to bend to the left.",
      " If the lamp does not work, change the fuse first.",
      " Wolves hunt together and share what they have caught.",
      " The train was late because a tree had fallen on the rails.",
      " My uncle kept his money in a tin box behind the stove.",
      " The old law said that no one might fish there on Sundays.",
      " Paper was made from rags long before it was made from wood.",
      " The dog waited at the gate until the last visitor had gone.",
      " Two of the windows face north, and the room is always cold.",
      " The scientist repeated the experiment with a longer wire.",
      " A narrow path leads through the vineyard to the chapel.",
      " The market opens at six and closes at noon.",
      " Nothing grows well in that corner, because the wall takes all the light.",
      " The sailors tied the boat to a ring in the rock.",
      " He read the newspaper from the last page to the first.",
      " Iron rusts faster in salt air than in dry air.",
      " The teacher drew a circle and asked us to divide it into five parts.",
      " On the third day the fever fell and she asked for soup.",
      " The new road saves an hour, but the old one is more beautiful.",
      " Some stars are so far away that their light is older than we are.",
      " The tailor sewed a second pocket inside the coat.",
      " They carried the piano up the stairs without a scratch.",
      " A glass of cold milk stood on the table next to the plums.",
      " The judge listened to both sides and then asked a simple question.",
      " In the cellar there were apples, potatoes and a broken chair.",
      " The wind turned in the night, and the smoke blew toward the town.",
      " Its author wrote the book in nine weeks and corrected it for nine years.",
      " The path was steep, so we rested at every turn.",
      " A heavy door kept the noise of the machines out of the office.",
      " The gardener cut the roses back before the first frost.",
      " Ships once took four months to reach the other side of the world.",
      " The mayor promised a new roof for the market hall.",
      " Sheep know the voice of their shepherd from that of a stranger.",
      " The ice on the lake was thick enough to carry a horse.",
      " Her answer was short, polite and quite impossible to misunderstand.",
      " At the end of the street there is a shop that sells only buttons."};
  return sentences;
}

std::vector<std::string> split_sentences(const std::string& text) {
  std::vector<std::string> sentences;
  const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  for (size_t at = 0; at < text.size();) {
    while (at < text.size() && is_space(text[at])) ++at;
    size_t end = at;
    while (end < text.size() && text[end] != '\n') {
      const bool stop = text[end] == '.' || text[end] == '!' || text[end] == '?';
      ++end;
      if (stop && (end == text.size() || is_space(text[end]))) break;
    }
    size_t last = end;
    while (last > at && is_space(text[last - 1])) --last;
    if (last > at) sentences.emplace_back(" ").append(text, at, last - at);
    at = end;
  }
  return sentences;
}

}  // namespace bareattn::observing
