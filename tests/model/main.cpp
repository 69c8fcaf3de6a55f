// main.cpp: the main function of the model tests, which are linked without the library.
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
