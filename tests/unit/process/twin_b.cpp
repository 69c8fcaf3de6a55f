// twin_b.cpp: functions that have the names of others in twin_a.cpp.
#include "desk.hpp"

static int twin(Desk&) { return 12; }

namespace {
int hidden(Desk&) { return 22; }
}  // namespace

lagoon::Process spawn_static_twin_b(const lagoon::Arena<Desk>& desk) {
    return lagoon::Process::spawn<twin>(desk);
}
lagoon::Process spawn_hidden_twin_b(const lagoon::Arena<Desk>& desk) {
    return lagoon::Process::spawn<hidden>(desk);
}
