// twin_a.cpp: functions that have the names of others in twin_b.cpp.
#include "desk.hpp"

static int twin(Desk&) { return 11; }

namespace {
int hidden(Desk&) { return 21; }
}  // namespace

lagoon::Process spawn_static_twin_a(const lagoon::Arena<Desk>& desk) {
    return lagoon::Process::spawn<twin>(desk);
}
lagoon::Process spawn_hidden_twin_a(const lagoon::Arena<Desk>& desk) {
    return lagoon::Process::spawn<hidden>(desk);
}
