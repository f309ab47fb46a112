function mpc = three
%THREE  Three buses, one generator, two lines; written for this test.
mpc.version = '2';
mpc.baseMVA = 10;
mpc.bus = [
	1	3	0	0	0	0	1	1.02	0	20	1	1.1	0.9;
	2	1	2	0.5	0	0	1	1	0	20	1	1.1	0.9;
	5	1	1	0.3	0	0.2	1	1	0	20	1	1.05	0.95;
];
mpc.gen = [
	1	0	0	10	-10	1.02	10	1	20	0;
];
mpc.branch = [
	1	2	0.01	0.02	0.001	10	10	10	0	0	1	-360	360;
	2	5	0.02	0.03	0.001	10	10	10	0	0	1	-360	360;
];
