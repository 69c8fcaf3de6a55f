// forgetful.cpp: a program that forgets run_if_worker, and would start itself for ever.
//
// Each run appends a line to the file that $FORGETFUL_LOG names. Started by hand it exits with 10
// when spawn refuses as it should.
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "desk.hpp"

static void task(Desk&) {}

int main() {
    if (const char* log = std::getenv("FORGETFUL_LOG")) {
        if (std::FILE* file = std::fopen(log, "a")) {
            std::fputs("run\n", file);
            std::fclose(file);
        }
    }
    try {
        const char* name = std::getenv("FORGETFUL_ARENA");
        auto desk = lagoon::Arena<Desk>::open_or_create(name != nullptr ? name : "forgetful");
        auto child = lagoon::Process::spawn<task>(desk);
        child.join();
        return 11;
    } catch (const lagoon::Error& error) {
        std::cerr << error.what() << '\n';
        return error.errc() == lagoon::Errc::run_if_worker_missing ? 10 : 12;
    }
}
