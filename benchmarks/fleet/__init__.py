"""How long a promotion takes to reach the last of a thousand predictors: `task bench -- fleet`."""
