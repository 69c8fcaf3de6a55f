// plugin.cpp: a function in a library that is loaded at run time, and spawned from there.
#include "desk.hpp"

static int task_of_plugin(Desk& desk, int number) {
    desk.numbers[0].store(number);
    return number;
}

extern "C" [[gnu::visibility("default")]] StartInPlugin start_in_plugin;

void start_in_plugin(const lagoon::Arena<Desk>* desk, int number, lagoon::Process* started) {
    *started = lagoon::Process::spawn<task_of_plugin>(*desk, number);
}
