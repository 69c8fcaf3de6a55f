// desk.hpp: the struct and the functions that the process tests and their helper programs share.
#pragma once

#include <string>

#include <lagoon/array.hpp>
#include <lagoon/counter.hpp>
#include <lagoon/process.hpp>

struct Desk {
    lagoon::Counter begun{"begun"};
    lagoon::Counter go_on{"go_on"};
    lagoon::Array<int> numbers{"numbers", 8};
};

/// The stranger has it too, under the same name.
int known_everywhere(Desk& desk, int number);
/// Another struct, which the stranger knows otherwise.
struct Odd;
int odd_task(Odd& odd);

// Two files, each with a `static int twin(Desk&)` and an unnamed namespace's `hidden`.
lagoon::Process spawn_static_twin_a(const lagoon::Arena<Desk>& desk);
lagoon::Process spawn_static_twin_b(const lagoon::Arena<Desk>& desk);
lagoon::Process spawn_hidden_twin_a(const lagoon::Arena<Desk>& desk);
lagoon::Process spawn_hidden_twin_b(const lagoon::Arena<Desk>& desk);

extern "C" {
/// In the plugin.
using StartInPlugin = void(const lagoon::Arena<Desk>* desk, int number, lagoon::Process* started);
}
