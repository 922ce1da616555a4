"""What a simulated fleet and `tidegate up` say to each other: generated from `proto/tidegate/simulated`."""
