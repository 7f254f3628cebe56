// The contents page: everything a user may include. Take this, or only the header you need. Start reading at points.h
// (what can be watched) and attention.h (what is computed).
#pragma once
#include "bareattn/agreement.h"           // heads of a layer that agree or contradict each other
#include "bareattn/architecture.h"        // what a model computes, as plain data, layer by layer
#include "bareattn/attention.h"           // exact attention and what it says about itself
#include "bareattn/attention_backward.h"  // its gradients
#include "bareattn/attention_cache.h"     // keys and values kept between calls
#include "bareattn/diagnosis.h"           // what is wrong with how a model attends
#include "bareattn/diff.h"                // two runs or two models compared, head by head
#include "bareattn/end_tokens.h"          // after which tokens generation ends
#include "bareattn/error.h"               // what is thrown: InputError, FileError, OutputError
#include "bareattn/faults.h"              // faults to inject, each a real bug
#include "bareattn/files.h"               // files read and written whole, text made safe to print
#include "bareattn/head_roles.h"          // what every head is for, by recipes: induction, retrieval, copying, ...
#include "bareattn/highlights.h"          // which heads to look at first
#include "bareattn/interrupt.h"           // a long call that can be ended
#include "bareattn/length.h"              // past the trained context, windows
#include "bareattn/lesson.h"              // one head on a short sentence, every number of it: the page's tour
#include "bareattn/model.h"               // a model, a run of it, generation
#include "bareattn/model_config.h"        // a model's sizes
#include "bareattn/model_file.h"          // what a file says about its model, run or not; a tokenizer alone
#include "bareattn/observation.h"         // every head over one text: measures, maps, roles
#include "bareattn/page.h"                // the page: one HTML file
#include "bareattn/points.h"              // where a run can be watched
#include "bareattn/quantize.h"            // a model file stored as another type
#include "bareattn/score_table.h"         // steering as the attention pass takes it
#include "bareattn/scores.h"              // how a score is made of q.k: the one rule
#include "bareattn/serve.h"               // the page over HTTP, for this machine alone
#include "bareattn/signals.h"             // what a handler may do that ends the process
#include "bareattn/spans.h"               // named parts of a text: given, found by expression, of the chat template
#include "bareattn/steering.h"            // named interventions: boost, knock out, ablate, ...
#include "bareattn/stream.h"              // the residual stream of a text: massive activations, rank collapse
#include "bareattn/sweep.h"               // measures that need a second look at every weight
#include "bareattn/tensor.h"              // a view whose element type is known at run time
#include "bareattn/tensor_view.h"         // data, shape, strides
#include "bareattn/threads.h"             // whether the system gave the threads that were asked for
#include "bareattn/tokenizer.h"           // text becomes tokens
#include "bareattn/trace.h"               // a run in a file: any weight exactly, later
#include "bareattn/variant.h"             // runs that depart from the file: faults, probes, remedies
#include "bareattn/weights.h"             // any rectangle of weights, exactly those of the pass
